"""What is read of the recordings; models are trained by hand."""

import numpy as np
from scipy.io import wavfile


def test_prompts_are_found_by_language(benchmark, tmp_path):
    sounds = tmp_path / "usr/share/asterisk/sounds"
    samples = {
        "en_US_f_Allison/digits/1.wav": 800,
        "en_US_f_Allison/silence/1.wav": 800,
        "ru_RU_f_IvrvoiceRU/digits/1.wav": 800,
        "ru_RU_f_IvrvoiceRU/is.wav": 0,
    }
    for name, count in samples.items():
        file = sounds / name
        file.parent.mkdir(parents=True, exist_ok=True)
        wavfile.write(file, 8000, np.zeros(count, "int16"))
    files, names, languages = benchmark.read_prompts(tmp_path)
    assert [file.relative_to(sounds).as_posix() for file in files] == [*samples][0::2]
    assert names.tolist() == ["digits/1.wav"] * 2
    assert languages.tolist() == ["en", "ru"]
