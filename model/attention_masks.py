"""Which tokens may read which, where that is not simply all that came before."""

from torch import Tensor


def document_mask(documents: Tensor) -> Tensor:
    """Lets each token read the tokens before it, and itself, as far as they are of its document.

    Args:
        documents: int32 (B, T), the document that each token is of.

    Returns:
        bool (B, 1, T, T): true where the token of the row may read that of the column.
    """
    same = documents[:, :, None] == documents[:, None, :]
    return same.tril()[:, None]
