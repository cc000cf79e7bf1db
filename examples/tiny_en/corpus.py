"""The text that tiny-en was pretrained on, from four packages of Debian 12.

    apt-get download bible-kjv bible-kjv-text r-cran-janeaustenr wordnet-base
    python examples/tiny_en/corpus.py . corpus

The King James Bible and Jane Austen's novels are in the public domain; WordNet 3.0 is free to use
and redistribute (Princeton University, 2006). Every twentieth chapter is held out.
"""

import hashlib
import json
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

PACKAGES = {
    "bible-kjv_4.38_amd64.deb": "75a49c032a6efa9faa2beb4a9acb70974380122906329d0e100de36cc88ff02d",
    "bible-kjv-text_4.38_all.deb": (
        "d61b6aad4c51ba9e2800b825325fa6a09e99a0d02a9bb6dc4724fcc4995a1b7a"
    ),
    "r-cran-janeaustenr_1.0.0-1_all.deb": (
        "df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95"
    ),
    "wordnet-base_1%3a3.0-37_all.deb": (
        "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752"
    ),
}
# Glosses of related words stand beside each other; so many make a document.
GLOSSES_TOGETHER = 16
HELD_OUT_EVERY = 20
# WordNet's signs for relations of words.
RELATIONS = {"@": "A kind of", "~": "For example", "&": "Like", "!": "Not", "+": "See"}


def bible(root: Path) -> Iterator[str]:
    """Yields the chapters of the King James Bible."""
    command = [f"{root}/usr/bin/bible", "-f", "-p", f"{root}/usr/lib", "gen1:1-rev22:21"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    chapter = ""
    verses: list[str] = []
    for line in printed.splitlines():
        found = re.match(r"(\d?[A-Za-z]+\d+):\d+ (.*)", line)
        if found and found[1] != chapter:
            if verses:
                yield " ".join(verses)
            chapter, verses = found[1], []
        if found:
            verses.append(found[2].strip())
    yield " ".join(verses)


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
    """Yields WordNet's synonyms, glosses, examples and related words as prose."""
    lines = {}
    for part, name in (("n", "noun"), ("v", "verb"), ("a", "adj"), ("r", "adv")):
        content = (root / f"usr/share/wordnet/data.{name}").read_text("latin-1")
        lines[part] = [line for line in content.splitlines() if not line.startswith("  ")]
    words = {
        (part, line.split()[0]): words_of(line) for part, found in lines.items() for line in found
    }
    for part, found in lines.items():
        entries = []
        for line in found:
            fields, gloss = line.split(" | ", 1)
            definition, *examples = re.split(r'; (?=")', gloss.strip())
            sentences = [f"{', '.join(words[part, fields.split()[0]])}: {definition}"]
            sentences += [example.strip('"; ') for example in examples]
            for sign, phrase in RELATIONS.items():
                pointers = re.findall(rf" {re.escape(sign)} (\d{{8}}) ([nvar])", fields)
                related = dict.fromkeys(w for at, of in pointers for w in words[of, at][:2])
                if related:
                    sentences.append(f"{phrase} {', '.join(list(related)[:8])}")
            entries.append(" ".join(f"{s[0].upper()}{s[1:]}." for s in sentences if s))
        for first in range(0, len(entries), GLOSSES_TOGETHER):
            yield " ".join(entries[first : first + GLOSSES_TOGETHER])


def words_of(line: str) -> list[str]:
    """Returns the words of a synset: their number stands fourth, in hexadecimal."""
    fields = line.split()
    words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
    return [word.replace("_", " ").split("(")[0] for word in words]


def main(packages: str, output: str) -> None:
    """Writes train/ and held_out/, a JSONL file for each source, and prints their hashes."""
    with tempfile.TemporaryDirectory() as folder:
        for name, expected in PACKAGES.items():
            package = Path(packages) / name
            if (found := hashlib.sha256(package.read_bytes()).hexdigest()) != expected:
                raise ValueError(f"{package} has sha256 {found}, expected {expected}.")
            subprocess.run(["dpkg-deb", "-x", str(package), folder], check=True)
        for source in (bible, austen, wordnet):
            documents = list(source(Path(folder)))
            held_out = documents[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
            del documents[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
            for part, texts in (("train", documents), ("held_out", held_out)):
                file = Path(output) / part / f"{source.__name__}.jsonl"
                file.parent.mkdir(parents=True, exist_ok=True)
                content = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
                file.write_bytes(content)
                digest = hashlib.sha256(content).hexdigest()
                print(f"{part}/{file.name}: {len(texts)} documents, {len(content)} bytes, {digest}")


if __name__ == "__main__":
    main(*sys.argv[1:])
