"""One store for all machines, in Redis or Valkey: values that describe themselves, under names that all agree on."""
