"""The commands under test keep what they cache in a folder of the tests' own, never in the user's."""
import os
import tempfile

os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="bareattn-cache-")
