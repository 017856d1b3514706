"""The read-through cache for training: fills once, never evicts, keeps compressed bytes, decodes at the speed of C."""

from .cache.cached_function import CachedFunction
from .cache.stats import CacheInfo, CacheStats, ServerStats, StageStats, TierStats
from .decorators import fill_once, lru_cache
from .images.batch import decode_batch
from .images.check import ImageReport, check_images
from .images.crops import random_crops
from .images.formats import decode_image, image_size
from .images.jpeg import JpegHeader, decode_jpeg, jpeg_header
from .images.segments import JpegError
from .images.shrink import shrink_jpeg
from .keys.call_key import VersionedKey, file_key
from .planning.hit_rates import predict_hit_rate
from .planning.plan import Plan, StagePlan
from .planning.simulation import SimulationResult, simulate
from .staging import StagedFunction, staged
from .stores.remote.store import RemoteStore
from .stores.shared.store import SharedStore
from .stores.values import sizeof

__version__ = "0.1.0"
__all__ = [
    "CacheInfo",
    "CacheStats",
    "CachedFunction",
    "ImageReport",
    "JpegError",
    "JpegHeader",
    "Plan",
    "RemoteStore",
    "ServerStats",
    "SharedStore",
    "SimulationResult",
    "StagePlan",
    "StageStats",
    "StagedFunction",
    "TierStats",
    "VersionedKey",
    "check_images",
    "decode_batch",
    "decode_image",
    "decode_jpeg",
    "file_key",
    "fill_once",
    "image_size",
    "jpeg_header",
    "lru_cache",
    "predict_hit_rate",
    "random_crops",
    "shrink_jpeg",
    "simulate",
    "sizeof",
    "staged",
]
