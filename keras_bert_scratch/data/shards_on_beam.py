"""Shards made with Apache Beam, for texts that one machine is too small for.

Each file of text is one element, so the files are the same, bit for bit, as those of
`data.shards.write_shards`, on every runner. Needs the extra `beam`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam

from keras_bert_scratch.data.shards import ShardSettings, sorted_sources, write_index, write_shard
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer


class WriteShard(beam.DoFn):
    """Writes the examples of one file of text: (shard, source) -> the shard's entry of the index.

    Args:
        folder: Where to write; must be the same place for all workers.
        tokenizer: With the vocabulary of the model.
        settings: How text becomes examples.
    """

    def __init__(
        self, folder: str | Path, tokenizer: WordPieceTokenizer, settings: ShardSettings
    ) -> None:
        super().__init__()
        self.folder = str(folder)
        self.tokenizer = tokenizer
        self.settings = settings

    def process(self, element: tuple[int, str]) -> Iterator[dict[str, Any]]:
        """Writes a shard."""
        shard, source = element
        yield write_shard(source, shard, self.folder, self.tokenizer, self.settings)


class _WriteIndex(beam.DoFn):
    def __init__(
        self, folder: str | Path, tokenizer: WordPieceTokenizer, settings: ShardSettings
    ) -> None:
        super().__init__()
        self.arguments = str(folder), tokenizer, settings

    def process(self, entries: list[dict[str, Any]]) -> None:
        folder, tokenizer, settings = self.arguments
        write_index(folder, entries, tokenizer, settings)


def write_shards_with_beam(
    sources: Sequence[str | Path],
    folder: str | Path,
    tokenizer: WordPieceTokenizer,
    settings: ShardSettings,
    options: Any = None,
) -> None:
    """Turns files of text into a folder of shards; goes on where it stopped.

    Args:
        sources: The files, each of which becomes one shard.
        folder: Where to write, as for `write_shards`.
        tokenizer: With the vocabulary of the model.
        settings: How.
        options: Beam's `PipelineOptions`, which choose the runner; by default the direct one.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If there are no files.
        RuntimeError: If `write_shard` refuses one; Beam wraps the error.

    Example:
        >>> write_shards_with_beam(["corpus.txt"], "shards", tokenizer, ShardSettings())
    """
    paths = sorted_sources(sources)
    Path(folder).mkdir(parents=True, exist_ok=True)
    with beam.Pipeline(options=options) as pipeline:
        (
            pipeline
            | beam.Create(list(enumerate(map(str, paths))))
            # Each element its own bundle: a runner may otherwise fuse them all to one worker.
            | beam.Reshuffle()
            | beam.ParDo(WriteShard(folder, tokenizer, settings))
            | beam.combiners.ToList()
            | beam.ParDo(_WriteIndex(folder, tokenizer, settings))
        )
