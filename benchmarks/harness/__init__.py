"""How a question is measured, and how its report is printed, plotted and run in another process."""
