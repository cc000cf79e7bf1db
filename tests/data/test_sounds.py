import io
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from keras_bert_scratch.data.sounds import (
    log_mel_spectrograms,
    pad_sounds,
    read_sound,
    read_sounds,
)


def wav(samples: np.ndarray, rate: int = 16_000) -> bytes:
    file = io.BytesIO()
    wavfile.write(file, rate, samples)
    return file.getvalue()


def tone(frequency: float, rate: int, seconds: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)


def test_every_type_of_samples_becomes_the_same_floats(tmp_path: Path) -> None:
    expected = np.array([0.0, 0.5, -0.5, -1.0], "float32")
    for samples in (
        (expected * 128 + 128).astype("uint8"),
        (expected * 2**15).astype("int16"),
        (expected * 2.0**31).astype("int32"),
        expected,
        expected.astype("float64"),
    ):
        path = tmp_path / f"{samples.dtype}.wav"
        path.write_bytes(wav(samples))
        for source in (path, str(path), path.read_bytes(), samples):
            found = read_sound(source)
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, expected, err_msg=str(samples.dtype))


def test_stereo_is_averaged() -> None:
    both = np.array([[2000, 4000], [-2000, 0], [6, 6]], "int16")
    np.testing.assert_array_equal(read_sound(wav(both)) * 2**15, [3000, -1000, 6])


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_other_rates_are_resampled(rate: int) -> None:
    expected = tone(440, 16_000)
    dictionary = {"array": tone(440, rate), "sampling_rate": rate}
    for source in (wav(tone(440, rate).astype("float32"), rate), dictionary):
        found = read_sound(source)
        assert len(found) == len(expected)
        # Behind the filter's ends.
        np.testing.assert_allclose(found[200:-200], expected[200:-200], atol=2e-3)


def test_silence_is_read_and_nothing_is_not() -> None:
    np.testing.assert_array_equal(read_sound(np.zeros(3, "int16")), [0, 0, 0])
    named = "The sound (row 1 of call) has samples of shape (0,), which must be"
    with pytest.raises(ValueError, match=re.escape(named)):
        read_sounds([np.zeros(3), wav(np.zeros(0, "int16"))], column="call")
    with pytest.raises(ValueError, match="There are no sounds in call: give at least one."):
        read_sounds([], column="call")


def test_refused_with_file_and_row(tmp_path: Path) -> None:
    content = wav(np.zeros(100, "int16"))
    mu_law = content[:20] + b"\x07" + content[21:]
    for file, bad, message in (
        ("cut.wav", content[:-7], "is truncated: it announces 244 bytes and has 237. Fetch it"),
        ("a.mp3", b"ID3\x04 and so on", "is broken or not a WAV file without compression (File"),
        ("law.wav", mu_law, "is broken or not a WAV file without compression (Unknown wave file"),
        ("slow.wav", wav(np.zeros(9), 3), "has a sample rate of 3, which must be from 1,000 to"),
        ("nan.wav", wav(np.full(9, np.nan)), "has samples that are not finite: remove it"),
    ):
        (tmp_path / file).write_bytes(bad)
        named = f"The sound {tmp_path / file} (row 0 of call) {message}"
        with pytest.raises(ValueError, match=re.escape(named)):
            read_sounds([tmp_path / file], column="call")
    with pytest.raises(FileNotFoundError, match="none.wav is missing: there is no such file"):
        read_sound(tmp_path / "none.wav")


def test_what_are_no_samples() -> None:
    with pytest.raises(TypeError, match="The sound is of float: give the path of a WAV file"):
        read_sound(0.5)
    with pytest.raises(TypeError, match="has samples of bool: give floats or integers"):
        read_sound(np.zeros(5, bool))
    with pytest.raises(ValueError, match="has 2 samples of 5 channels: transpose it"):
        read_sound(np.zeros((2, 5)))


def test_the_loudest_band_is_that_of_the_tone() -> None:
    for frequency in (300, 1000, 4000):
        samples, lengths = pad_sounds([tone(frequency, 16_000).astype("float32")], num_frames=48)
        spectrogram = np.array(log_mel_spectrograms(samples, lengths))[0]
        corners = np.linspace(*(1127 * np.log(1 + f / 700) for f in (20, 8000)), 130)[1:-1]
        band = np.argmin(np.abs(corners - 1127 * np.log(1 + frequency / 700)))
        assert (np.abs(spectrogram[:48].argmax(axis=1) - band) <= 1).all()


def test_frames_without_sound_are_zero_before_they_are_normalized() -> None:
    # 400 samples fill one frame, 559 too, 560 two; a shorter sound has one.
    sounds = [np.ones(n, "float32") for n in (3, 400, 559, 560, 10_000)]
    samples, lengths = pad_sounds(sounds, num_frames=4)
    assert samples.shape == (5, 880)
    found = np.array(log_mel_spectrograms(samples, lengths, mean=-3.0, deviation=2.0))
    is_empty = (found == 0.75).all(axis=-1)  # (0 + 3) / 4
    np.testing.assert_array_equal((~is_empty).sum(axis=1), [1, 1, 1, 2, 4])
