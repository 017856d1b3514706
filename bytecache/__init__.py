"""The read-through cache for training: fills once, never evicts, keeps compressed bytes, decodes at the speed of C."""

from .batch import decode_batch
from .decorators import CachedFunction, fill_once, lru_cache
from .jpeg import JpegError, JpegHeader, decode_jpeg, jpeg_header, shrink_jpeg
from .keys import file_key
from .shared import SharedStore
from .simulate import SimulationResult, predict_hit_rate, simulate
from .stats import CacheInfo, CacheStats

__version__ = "0.1.0"
__all__ = [
    "CacheInfo",
    "CacheStats",
    "CachedFunction",
    "JpegError",
    "JpegHeader",
    "SharedStore",
    "SimulationResult",
    "decode_batch",
    "decode_jpeg",
    "file_key",
    "fill_once",
    "jpeg_header",
    "lru_cache",
    "predict_hit_rate",
    "shrink_jpeg",
    "simulate",
]
