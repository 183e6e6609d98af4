"""Writes pictures to an .mp4 file that appears when it is whole."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

ENCODER_TIMEOUT_S = 60
"""For finishing the file after the last picture."""


class Film:
    """A context in which pictures of one size can be added; leaving it without an error keeps the file."""

    def __init__(self, path: Path) -> None:
        """Check that `path` can become a film. Raises ValueError; nothing is written yet."""
        if path.suffix != ".mp4":
            raise ValueError(f"a video cannot be written to {path}; give a path that ends in .mp4")
        self.path = path
        self.frames_per_second = 30.0
        self._ffmpeg = _find_ffmpeg()
        self._unfinished = path.with_name(f".{path.stem}.unfinished.mp4")
        self._encoder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Make the directory."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._not_written(str(error)) from error
        return self

    def add(self, picture: Any) -> None:  # noqa: ANN401 - whatever an environment's render returns
        """Append a picture, [H, W], [H, W, 1] or [H, W, 3] of uint8."""
        frame = _frame(picture)
        if self._encoder is None:
            self._encoder = self._start(*frame.shape[:2])
        assert self._encoder.stdin is not None
        try:
            self._encoder.stdin.write(frame.tobytes())
        except OSError as error:
            raise self._not_written(self._stop() or str(error)) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Finish the file and give it its name, or after an error remove it."""
        try:
            complaint = self._stop()
            if error is None:
                if complaint or not self._unfinished.exists():
                    raise self._not_written(complaint or "the environment showed no picture")
                self._unfinished.replace(self.path)
        finally:
            with contextlib.suppress(OSError):  # the disk may be read-only; then nothing lies there
                self._unfinished.unlink(missing_ok=True)

    def _start(self, height: int, width: int) -> subprocess.Popen[bytes]:
        rate = f"{self.frames_per_second:g}"
        source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", rate, "-i", "-"]
        target = ["-c:v", "libx264", "-crf", "20", "-pix_fmt", "yuv420p", str(self._unfinished)]
        return subprocess.Popen(  # noqa: S603 - the encoder that imageio-ffmpeg brings
            [self._ffmpeg, "-y", "-v", "error", *source, *target],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def _stop(self) -> str:
        """Wait for the encoder to finish; return what it complained about."""
        encoder, self._encoder = self._encoder, None
        if encoder is None:
            return ""
        assert encoder.stdin is not None
        with contextlib.suppress(OSError):
            encoder.stdin.close()
        encoder.stdin = None
        try:
            _, complaint = encoder.communicate(timeout=ENCODER_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            encoder.kill()
            encoder.communicate()
            return f"the encoder did not finish within {ENCODER_TIMEOUT_S} s"
        return complaint.decode(errors="replace")

    def _not_written(self, reason: str) -> ValueError:
        return ValueError(f"video {self.path} was not written: {' '.join(reason.split())}")


def _find_ffmpeg() -> str:
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise ValueError(
            'a video needs imageio-ffmpeg; install it with: pip install "outrider-envrunner[video]"'
        ) from error
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def _frame(picture: Any) -> NDArray[np.uint8]:  # noqa: ANN401 - see Film.add
    """Return [H, W, 3] with even height and width, as the encoding asks; an odd edge is doubled."""
    frame = np.asarray(picture)
    if frame.ndim == 2:
        frame = frame[:, :, None]
    if frame.ndim != 3 or frame.shape[2] not in {1, 3} or frame.dtype != np.uint8:
        raise ValueError(
            f"the environment showed a picture of shape {frame.shape} and dtype {frame.dtype}; render must "
            "return [height, width, 3] of uint8"
        )
    if frame.shape[2] == 1:
        frame = frame.repeat(3, 2)
    odd_height, odd_width = frame.shape[0] % 2, frame.shape[1] % 2
    if odd_height or odd_width:
        frame = np.pad(frame, ((0, odd_height), (0, odd_width), (0, 0)), mode="edge")
    return frame
