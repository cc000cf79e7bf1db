"""How the benchmark reads and splits its pairs, and what it compares with, by hand."""

PACKAGES = """\
Package: fox-doc
Source: fox (1.2-3)
Description: red fox - documentation
Description-md5: 11

Package: fox
Version: 1.2-3
Description: red fox
Description-md5: 12

Package: fox4
Description: red fox, again
Description-md5: 13

Package: dog-cat
Description: animal named dog cat
Description-md5: 14

Package: bird-egg
Description: animal named bird 2
Description-md5: 15

Package: cow
Description: animal
Description-md5: 16

Package: empty
Description: nothing to read
Description-md5: 17

Package: untold
Description: nobody described it
Description-md5: 18
"""
TRANSLATIONS = """\
Package: fox-doc
Description-md5: 11
Description-en: red fox - documentation
 How foxes run.

Package: fox
Description-md5: 12
Description-en: red fox
 Foxes run:
 .
  * over the
    dog. They are version 1.5.

Package: fox
Description-md5: 99
Description-en: the fox of another version
 Other.

Package: fox4
Description-md5: 13
Description-en: red fox, again
 Foxes run: over the dog. They are version 4.

Package: dog-cat
Description-md5: 14
Description-en: animal named dog cat
 The source of dog_cat.

Package: bird-egg
Description-md5: 15
Description-en: animal named bird 2
 The source of bird-egg.

Package: cow
Description-md5: 16
Description-en: animal named
 It gives milk.

Package: empty
Description-md5: 17
Description-en: nothing to read
"""


def test_one_pair_a_source_package_without_boilerplate(benchmark):
    """In the order of the sources:

    bird-egg comes first. cow's synopsis and dog-cat's text differ from its by names alone. empty
    has no text. fox-doc is of the source fox and has the longer name. fox4 differs by a number.
    """
    assert benchmark.read_pairs(PACKAGES, TRANSLATIONS) == [
        ("bird-egg", "The source of bird-egg.", "animal named bird 2"),
        ("fox", "Foxes run: * over the dog. They are version 1.5.", "red fox"),
    ]


def test_every_pair_is_in_one_part(benchmark):
    pairs = [benchmark.Pair(str(number), "text", "line") for number in range(2000)]
    train, watched, held_out = benchmark.split(pairs)
    assert [len(part) for part in (train, watched, held_out)] == [500, 500, 1000]
    assert sorted([*train, *watched, *held_out]) == sorted(pairs)
    assert held_out != pairs[:1000]


def test_baselines(benchmark):
    texts = ["Foo is a tool for foxes to run", "This package provides the bar of a dog"]
    assert benchmark.first_words(texts, 3) == ["Foo is a", "This package provides"]
    assert benchmark.what_it_is(texts, 3) == ["tool for foxes", "bar of a"]
    known = ["a red fox runs", "the big dog sleeps"]
    assert benchmark.remembered(known, ["fox", "dog"], ["big dogs and a dog"]) == ["dog"]
