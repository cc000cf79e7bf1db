"""SavedModels: a task's signatures as TensorFlow operations, loaded without Keras."""

from pathlib import Path

import tensorflow as tf

from keras_bert_scratch.serving.graphs.signature import Check, Functions, Signature


def write_saved_model(signature: Signature, folder: Path) -> Check:
    """Writes a SavedModel of core TensorFlow operations.

    Args:
        signature: The task, whose class describes the signatures.
        folder: The folder to write.

    Raises:
        ValueError: If the tokenizer does what no graph can do.
    """
    functions = signature.functions()
    save_functions(folder, functions)
    if "classify" in functions:
        # TensorFlow 2 calls every signature "predict"; TensorFlow Serving may insist on this name.
        updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(str(folder))
        updater.replace_method_name("classify", "tensorflow/serving/classify", tags="serve")
        updater.save()
    signature.write_assets(folder)
    return Check(signature.expected)


def save_functions(folder: str | Path, functions: Functions) -> None:
    """Writes functions as a SavedModel's signatures.

    Not by `keras.export.ExportArchive`, which traces each function twice: a third of the time to
    export.

    Args:
        folder: The folder to write.
        functions: The functions, by name.

    Example:
        >>> save_functions(folder, signature.functions())
    """
    concrete = {
        name: tf.function(function, autograph=False).get_concrete_function(*inputs)
        for name, (function, inputs) in functions.items()
    }
    module = tf.Module()
    variables = [variable for function in concrete.values() for variable in function.variables]
    module.used_variables = list({id(variable): variable for variable in variables}.values())
    tf.saved_model.save(module, str(folder), signatures=concrete)


def version_folder(folder: str | Path, version: int | None) -> Path:
    """Returns where a version stands below its model's folder; the folder itself for None.

    Raises:
        ValueError: If the version is not a positive whole number.
        FileExistsError: If the folder has this version, or is a SavedModel without versions.
    """
    folder = Path(folder)
    if version is None:
        return folder
    if not isinstance(version, int) or version < 1:
        raise ValueError(f"version must be a positive whole number, received {version!r}.")
    if (folder / "saved_model.pb").exists():
        raise FileExistsError(
            f"{folder} is a SavedModel without versions: name another folder for version {version}."
        )
    if (folder / str(version)).exists():
        newest = max(int(path.name) for path in folder.iterdir() if path.name.isdecimal())
        raise FileExistsError(
            f"{folder} has a version {version} already: choose another, such as {newest + 1}."
        )
    return folder / str(version)
