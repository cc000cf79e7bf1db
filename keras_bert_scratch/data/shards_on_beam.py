"""Shards made with Apache Beam, for texts that are too large for one machine.

Each file of text is one element, so the files are the same, bit for bit, as those of
`data.shards.write_shards`, on every runner. Needs the extra `beam`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam

from keras_bert_scratch.data.shards import ShardSettings, sorted_sources, write_index, write_shard
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer


def write_shards_with_beam(
    sources: Sequence[str | Path],
    folder: str | Path,
    tokenizer: WordPieceTokenizer,
    settings: ShardSettings,
    options: Any = None,
) -> None:
    """Turns files of text into a folder of shards; goes on where it stopped.

    Args:
        sources: Files of text; each becomes one shard.
        folder: Folder of the shards, as for `write_shards`; the same place for all workers.
        tokenizer: Tokenizer with the vocabulary of the model.
        settings: How text becomes examples.
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
    arguments = str(folder), tokenizer, settings
    with beam.Pipeline(options=options) as pipeline:
        (
            pipeline
            | beam.Create([(str(path), shard) for shard, path in enumerate(paths)])
            # A bundle for each element: a runner may otherwise fuse all of them on one worker.
            | beam.Reshuffle()
            | beam.MapTuple(lambda path, shard: write_shard(path, shard, *arguments))
            | beam.combiners.ToList()
            | beam.Map(lambda entries: write_index(entries, *arguments))
        )
