"""The folder of a search for a weight: which one it holds."""

from pathlib import Path
from typing import Any

from retemper.errors import CheckpointError
from retemper.evaluation.pieces import forget_pieces
from retemper.files import read_json, write_json
from retemper.identity import OTHER_START, REPLACE, START, differences
from retemper.process_group import join
from retemper.training.results import SEARCH, begin_tries_anew, forget_end, refuse_foreign

AS_IT_WAS = "as it was"  # the folder of the model before any retraining, beside that of each weight
ATTACKED = "validation"  # in each of these, the folder of its evaluation


def begin(folder: Path, identity: dict[str, Any], *, resume: bool) -> None:
    """Write down which search the folder is for, or make sure that it is for this one.

    Args:
        folder: made where there is none.
        identity: everything that makes the search what it is, as JSON.
        resume: go on from what is there; False takes the record of what was there before away.

    Raises:
        CheckpointError: it holds another search or run, or weights that nothing of ours wrote.
        OSError: it cannot be written.
    """
    written = folder / SEARCH
    if resume and written.is_file():
        changed = differences(read_json(written), identity)
        if changed == [START]:
            raise CheckpointError(f"{folder} holds a search for a weight that {OTHER_START} {REPLACE} to replace it.")
        if changed:
            raise CheckpointError(
                f"{folder} holds another search for a weight: it differs in {', '.join(changed)}. Choose another "
                f"folder, {REPLACE} to replace it."
            )
        return
    if resume:
        refuse_foreign(folder, SEARCH)
    if join().is_main_process:
        if not resume:
            forget_end(folder)
            for tried in [folder / AS_IT_WAS, *begin_tries_anew(folder)]:
                forget_pieces(tried / ATTACKED)
        write_json(written, identity)
