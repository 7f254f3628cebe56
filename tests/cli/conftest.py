"""The commands under test keep what they cache in a folder of the tests' own, never in the user's."""
import os
import tempfile

import pytest

os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="bareattn-cache-")


@pytest.fixture(scope="module")
def server(trace):
    """bareattn serve on the module's own `trace`."""
    from serving import serving

    with serving(trace) as served:
        yield served
