"""The few lines with which an app asks a LiteRT file that takes code points.

They need LiteRT alone, no tokenizer and nothing of this package, and are filled with the file's own
names, sizes and labels.
"""

import json
from pathlib import Path

from keras_bert_scratch.serving.packed import LABELS, SETTINGS, from_lines, unpack

_PYTHON = """\
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter

LABELS = [@LABELS@]
model = Interpreter("@FILE@")
classify = model.get_signature_runner("serving_default")


def probabilities(text):
    code_points = np.zeros((1, @SIZE@), np.int32)
    code_points[0, : len(text)] = [ord(character) for character in text[:@SIZE@]]
    return dict(zip(LABELS, classify(code_points=code_points)["probabilities"][0].tolist()))


print(probabilities(sys.argv[1]))
"""

_KOTLIN = """\
// build.gradle: implementation "com.google.ai.edge.litert:litert:1.+"
import java.io.File
import org.tensorflow.lite.Interpreter

val labels = listOf(@LABELS@)
val model = Interpreter(File("@FILE@"))

fun probabilities(text: String): Map<String, Float> {
    val codePoints = IntArray(@SIZE@)
    text.codePoints().limit(@SIZE@).toArray().copyInto(codePoints)
    val found = arrayOf(FloatArray(@CLASSES@))
    model.runSignature(
        mapOf("code_points" to arrayOf(codePoints)),
        mapOf("probabilities" to found),
        "serving_default",
    )
    return labels.zip(found[0].toList()).toMap()
}
"""

_SWIFT = """\
// Podfile: pod "TensorFlowLiteSwift"
import Foundation
import TensorFlowLite

let labels = [@LABELS@]
let model = try Interpreter(modelPath: "@FILE@")
let classify = try model.signatureRunner(with: "serving_default")

func probabilities(of text: String) throws -> [String: Float] {
  var codePoints = text.unicodeScalars.prefix(@SIZE@).map { Int32($0.value) }
  codePoints += [Int32](repeating: 0, count: @SIZE@ - codePoints.count)
  try classify.allocateTensors()
  try classify.copy(codePoints.withUnsafeBytes { Data($0) }, toInputNamed: "code_points")
  try classify.invoke()
  let found = try classify.output(named: "probabilities").data
  let values = found.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
  return Dictionary(uniqueKeysWithValues: zip(labels, values))
}
"""

_C = """\
// gcc client.c -o client -l:libLiteRt.so -L FOLDER -Wl,-rpath,FOLDER
// ./client "a text in UTF-8"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What is used of LiteRT's interface; a status of 0 is success.
typedef void *Handle;
int LiteRtCreateEnvironment(int, const void *, Handle *);
int LiteRtCreateModelFromFile(Handle, const char *, Handle *);
int LiteRtCreateOptions(Handle *);
int LiteRtSetOptionsHardwareAccelerators(Handle, int);
int LiteRtCreateCompiledModel(Handle, Handle, Handle, Handle *);
int LiteRtGetModelSignature(Handle, size_t, Handle *);
int LiteRtGetSignatureKey(Handle, const char **);
int LiteRtGetSignatureInputTensorByIndex(Handle, size_t, Handle *);
int LiteRtGetSignatureOutputTensorByIndex(Handle, size_t, Handle *);
int LiteRtGetRankedTensorType(Handle, void *);
int LiteRtGetCompiledModelInputBufferRequirements(Handle, size_t, size_t, Handle *);
int LiteRtGetCompiledModelOutputBufferRequirements(Handle, size_t, size_t, Handle *);
int LiteRtCreateManagedTensorBufferFromRequirements(Handle, const void *, Handle, Handle *);
int LiteRtLockTensorBuffer(Handle, void **, int);
int LiteRtUnlockTensorBuffer(Handle);
int LiteRtRunCompiledModel(Handle, size_t, size_t, Handle *, size_t, Handle *);
enum { CPU = 1, READ = 0, WRITE = 1 };

static const char *LABELS[] = {@LABELS@};

static void check(int status, const char *call) {
  if (status == 0) return;
  fprintf(stderr, "%s failed with status %d\\n", call, status);
  exit(1);
}
#define CHECK(call) check(call, #call)

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  Handle environment, model, options, compiled, signature, tensor, needed, input, output;
  long type[32];  // more than a tensor's type takes
  void *memory;
  CHECK(LiteRtCreateEnvironment(0, NULL, &environment));
  CHECK(LiteRtCreateModelFromFile(environment, "@FILE@", &model));
  CHECK(LiteRtCreateOptions(&options));
  CHECK(LiteRtSetOptionsHardwareAccelerators(options, CPU));
  CHECK(LiteRtCreateCompiledModel(environment, model, options, &compiled));
  size_t number = 0;
  for (const char *key = "";; number++) {
    CHECK(LiteRtGetModelSignature(model, number, &signature));
    CHECK(LiteRtGetSignatureKey(signature, &key));
    if (strcmp(key, "serving_default") == 0) break;
  }
  CHECK(LiteRtGetSignatureInputTensorByIndex(signature, 0, &tensor));
  CHECK(LiteRtGetRankedTensorType(tensor, type));
  CHECK(LiteRtGetCompiledModelInputBufferRequirements(compiled, number, 0, &needed));
  CHECK(LiteRtCreateManagedTensorBufferFromRequirements(environment, type, needed, &input));
  CHECK(LiteRtGetSignatureOutputTensorByIndex(signature, 0, &tensor));
  CHECK(LiteRtGetRankedTensorType(tensor, type));
  CHECK(LiteRtGetCompiledModelOutputBufferRequirements(compiled, number, 0, &needed));
  CHECK(LiteRtCreateManagedTensorBufferFromRequirements(environment, type, needed, &output));

  CHECK(LiteRtLockTensorBuffer(input, &memory, WRITE));
  int32_t *code_points = memset(memory, 0, @SIZE@ * sizeof(int32_t));
  const unsigned char *byte = (const unsigned char *)argv[1];
  for (int i = 0; *byte && i < @SIZE@; i++) {
    int more = *byte < 0xC0 ? 0 : *byte < 0xE0 ? 1 : *byte < 0xF0 ? 2 : 3;
    int32_t value = more ? *byte & (0x3F >> more) : *byte;
    for (byte++; more && (*byte & 0xC0) == 0x80; more--) value = value << 6 | (*byte++ & 0x3F);
    code_points[i] = value;
  }
  CHECK(LiteRtUnlockTensorBuffer(input));
  CHECK(LiteRtRunCompiledModel(compiled, number, 1, &input, 1, &output));
  CHECK(LiteRtLockTensorBuffer(output, &memory, READ));
  for (int i = 0; i < @CLASSES@; i++) printf("%s %.9g\\n", LABELS[i], ((float *)memory)[i]);
  return 0;
}
"""

_CODE = {"python": _PYTHON, "kotlin": _KOTLIN, "swift": _SWIFT, "c": _C}
LANGUAGES = tuple(_CODE)


def client_code(path: str | Path, language: str) -> str:
    """Returns the code of an app that asks a classifier's LiteRT file.

    The code reads the first code points of a text, as many as the file takes.

    Args:
        path: A file that `export(format="litert", inputs="code_points")` wrote.
        language: `"python"`, `"kotlin"` (Android), `"swift"` (iOS) or `"c"`.

    Returns:
        The code, which names the file without its folder.

    Raises:
        ValueError: If the language is unknown, or the file takes other inputs than the code points
            of one text, or is of another task.

    Example:
        >>> print(client_code("saved_models/films.tflite", "python"))
        import sys
        ...
    """
    if language not in _CODE:
        raise ValueError(f"language must be one of {', '.join(LANGUAGES)}; received {language!r}.")
    files = unpack(path)
    settings = json.loads(files.get(SETTINGS, "{}"))
    takes = settings.get("inputs", "ids")
    if LABELS not in files or takes != "code_points" or settings.get("pairs"):
        raise ValueError(
            f"{path} must be a classifier's file that takes the code points of one text, received "
            f"one that takes {takes.replace('_', ' ')}{' of pairs' * settings.get('pairs', False)}"
            f"{'' if LABELS in files else ' of another task'}: export a classifier with "
            "format='litert' and inputs='code_points'."
        )
    labels = from_lines(files[LABELS])
    # Strings of JSON are strings of all these languages, but for the dollar in Kotlin.
    written = ", ".join(json.dumps(label, ensure_ascii=False) for label in labels)
    if language == "kotlin":
        written = written.replace("$", "\\$")
    values = {
        "@FILE@": Path(path).name,
        "@SIZE@": str(settings["num_code_points"]),
        "@CLASSES@": str(len(labels)),
        # Last, for labels may hold anything.
        "@LABELS@": written,
    }
    code = _CODE[language]
    for name, value in values.items():
        code = code.replace(name, value)
    return code
