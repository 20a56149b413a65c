"""kill -9 at any moment of a publication leaves the old or the new version served, whole."""

from pathlib import Path

from learnt import MANIFEST, SPEC, State, report, whole
from publisher import Killed

from textseg.learning.versions import Versions

KILLS = 15


def test_a_killed_publisher_leaves_a_whole_version_served(tmp_path: Path, state: State) -> None:
    killed = Killed(tmp_path / SPEC.name, seed=1)
    for _ in range(KILLS):
        killed.kill_one()
    print(killed.cut, len(killed.numbers))
    assert killed.kills == KILLS and killed.numbers and killed.cut["publish"]
    versions = Versions(killed.folder, SPEC)
    published = versions.publish(state, MANIFEST, report("Better."))
    assert published > max(killed.numbers) and whole(versions).version == published
    assert not (killed.folder / ".unfinished").exists()
