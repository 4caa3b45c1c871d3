"""Networks as scikit-learn estimators. `fnn` imports this package on first use, since scikit-learn is optional."""

try:
    from sklearn.utils.validation import validate_data as _  # noqa: F401 (since 1.6)
except ImportError:
    raise ImportError('fnn.Classifier and fnn.Regressor need scikit-learn: pip install "scikit-learn>=1.6"') from None

from .classifier import Classifier
from .regressor import Regressor
from .search import GridSearch

__all__ = ["Classifier", "GridSearch", "Regressor"]
