"""Data sets, toy data, preprocessing, cross-validation and streams. Text is in `fnn.text`."""

from .. import text
from ..nn.embedding import one_hot
from .datasets import Dataset, Images, california_housing, digits, fashion_mnist, iris, mnist, nietzsche, shipping
from .download import DownloadError
from .files import read_csv, read_idx
from .scaling import Moments, scale_images, standardize, standardize_fit, standardize_invert
from .splitting import Fold, folds, folds_from, take_fold, train_test_split
from .streams import Shuffled, Stream
from .tables import TableCode, table_encode, table_fit
from .toy import circles, gaussians, multi_gaussian, plane, spiral, xor

__all__ = [
    "Dataset", "DownloadError", "Fold", "Images", "Moments", "Shuffled", "Stream", "TableCode", "california_housing",
    "circles", "digits", "fashion_mnist", "folds", "folds_from", "gaussians", "iris", "mnist", "multi_gaussian",
    "nietzsche", "one_hot", "plane", "read_csv", "read_idx", "scale_images", "shipping", "spiral", "standardize",
    "standardize_fit", "standardize_invert", "table_encode", "table_fit", "take_fold", "text", "train_test_split",
    "xor",
]  # fmt: skip
