"""What the tests share: the model, read once."""

import pytest

import bareattn


@pytest.fixture(scope="session")
def model():
    from places import MODEL  # here: what needs no model is tested without one

    return bareattn.Model(MODEL)
