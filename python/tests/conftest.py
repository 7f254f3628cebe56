import pytest

import bareattn


@pytest.fixture(scope="session")
def model():
    from places import MODEL  # here: what needs no model is tested without one

    return bareattn.Model(MODEL)
