"""Frames between agent and engine."""

from __future__ import annotations

import os
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdk_stable_diffusion.runtime_image.frames import BrokenFrames, FrameReader, FrameWriter


def _pipe() -> tuple[FrameReader, FrameWriter]:
    reading, writing = os.pipe()
    return FrameReader(reading), FrameWriter(writing)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
).filter(lambda value: _encodable(value))


def _encodable(value: object) -> bool:
    try:
        repr(value).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\\ud" not in repr(value)


@given(header=st.dictionaries(st.text(max_size=5), _JSON, max_size=4), payload=st.binary())
def test_what_is_written_is_read(header: dict[str, object], payload: bytes) -> None:
    reader, writer = _pipe()
    writer.write(header, payload)
    writer.close()
    frame = reader.read()
    assert frame is not None
    assert (frame.header, frame.payload) == (header, payload)
    assert reader.read() is None
    reader.close()


@given(payloads=st.lists(st.sampled_from([0, 1, 100, 4_096, 9_000]), min_size=2, max_size=6))
def test_frames_that_come_together_are_read_one_by_one(payloads: list[int]) -> None:
    reader, writer = _pipe()

    def write_all() -> None:
        for number, size in enumerate(payloads):
            writer.write({"n": number}, bytes([number]) * size)
        writer.close()

    # A pipe may hold no more than a page where there are many.
    thread = threading.Thread(target=write_all)
    thread.start()
    for number, size in enumerate(payloads):
        frame = reader.read()
        assert frame is not None
        assert (frame.header, frame.payload) == ({"n": number}, bytes([number]) * size)
    assert reader.read() is None
    thread.join()
    reader.close()


def test_a_picture_larger_than_the_pipe_passes_whole() -> None:
    reader, writer = _pipe()
    picture = os.urandom(3_000_000)
    thread = threading.Thread(target=writer.write, args=({"n": 1}, picture))
    thread.start()
    frame = reader.read()
    thread.join()
    assert frame is not None and frame.payload == picture
    writer.close()
    reader.close()


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        struct.pack(">IQ", 2, 0) + b"{",
        struct.pack(">IQ", 2, 9) + b"{}half",
        struct.pack(">IQ", 2, 0) + b"[]",
        struct.pack(">IQ", 3, 0) + b"not",
        struct.pack(">IQ", 2**31, 0),
        struct.pack(">IQ", 2, 2**60) + b"{}",
        b"a library printed this into the pipe",
    ],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    reader = FrameReader(reading)
    with pytest.raises(BrokenFrames):
        reader.read()
    reader.close()


def test_writing_to_a_closed_pipe_fails_and_closing_twice_does_not() -> None:
    reader, writer = _pipe()
    writer.close()
    writer.close()
    with pytest.raises(OSError, match="closed"):
        writer.write({})
    reader.close()
