"""The table of weight names: the place of each weight in this package, and Hugging Face's name.

Both loading and saving read it. `{n}` is the number of a block. Our names are attribute paths from
a task, which do not depend on Keras' names of variables. The last column holds the axes of a weight
in this package: V vocabulary, S positions, G segments, H hidden, A all heads of a block (N x D), F
feed-forward; of encoders of patches P patch size, C channels, S special tokens and patches.
Classification heads have none, since their sizes are not in the config.
"""

from typing import NamedTuple

from keras_bert_scratch.config import BertConfig, PatchConfig


class Weight(NamedTuple):
    """One row: the weight's place in this package, Hugging Face's name, and its axes."""

    ours: str
    huggingface: str
    axes: str = ""

    @property
    def transpose(self) -> bool:
        """Whether Hugging Face keeps the weight transposed, as PyTorch's linear layers do."""
        return "kernel" in self.ours.split(".")[-1]

    @property
    def google(self) -> str:
        """The name in Google's checkpoints of TensorFlow 1 (google-research/bert)."""
        name = self.huggingface.replace(".", "/").replace("encoder/layer/", "encoder/layer_")
        for huggingface, google in _GOOGLE:
            name = name.replace(huggingface, google)
        return name

    @property
    def google_transpose(self) -> bool:
        """Whether Google keeps the weight transposed, as the last matrix of every head."""
        return self.google.endswith("output_weights")

    def shape(self, config: BertConfig | PatchConfig) -> tuple[int, ...]:
        """Returns the weight's shape in this package; () for classification heads."""
        return tuple(config.axes[axis] for axis in self.axes.split("x") if axis)


# Replaced in this order.
_GOOGLE = (
    ("embeddings/weight", "embeddings"),
    ("LayerNorm/weight", "LayerNorm/gamma"),
    ("LayerNorm/bias", "LayerNorm/beta"),
    ("qa_outputs/", "cls/squad/output_"),
    ("seq_relationship/", "seq_relationship/output_"),
    ("classifier/", "output_"),
    ("output_weight", "output_weights"),
    ("predictions/bias", "predictions/output_bias"),
    ("/weight", "/kernel"),
)


def _table(text: str) -> tuple[Weight, ...]:
    return tuple(Weight(*line.split()) for line in text.strip().splitlines())


_EMBEDDINGS = _table("""
encoder.embeddings.token.embeddings     bert.embeddings.word_embeddings.weight        VxH
encoder.embeddings.position.embeddings  bert.embeddings.position_embeddings.weight    SxH
encoder.embeddings.segment.embeddings   bert.embeddings.token_type_embeddings.weight  GxH
encoder.embeddings.norm.gamma           bert.embeddings.LayerNorm.weight              H
encoder.embeddings.norm.beta            bert.embeddings.LayerNorm.bias                H
""")
_BLOCK = _table("""
encoder.blocks.{n}.attention.query.kernel              bert.encoder.layer.{n}.attention.self.query.weight        HxA
encoder.blocks.{n}.attention.query.bias                bert.encoder.layer.{n}.attention.self.query.bias          A
encoder.blocks.{n}.attention.key.kernel                bert.encoder.layer.{n}.attention.self.key.weight          HxA
encoder.blocks.{n}.attention.key.bias                  bert.encoder.layer.{n}.attention.self.key.bias            A
encoder.blocks.{n}.attention.value.kernel              bert.encoder.layer.{n}.attention.self.value.weight        HxA
encoder.blocks.{n}.attention.value.bias                bert.encoder.layer.{n}.attention.self.value.bias          A
encoder.blocks.{n}.attention.output_projection.kernel  bert.encoder.layer.{n}.attention.output.dense.weight      AxH
encoder.blocks.{n}.attention.output_projection.bias    bert.encoder.layer.{n}.attention.output.dense.bias        H
encoder.blocks.{n}.attention_norm.gamma                bert.encoder.layer.{n}.attention.output.LayerNorm.weight  H
encoder.blocks.{n}.attention_norm.beta                 bert.encoder.layer.{n}.attention.output.LayerNorm.bias    H
encoder.blocks.{n}.feed_forward.expand.kernel          bert.encoder.layer.{n}.intermediate.dense.weight          HxF
encoder.blocks.{n}.feed_forward.expand.bias            bert.encoder.layer.{n}.intermediate.dense.bias            F
encoder.blocks.{n}.feed_forward.contract.kernel        bert.encoder.layer.{n}.output.dense.weight                FxH
encoder.blocks.{n}.feed_forward.contract.bias          bert.encoder.layer.{n}.output.dense.bias                  H
encoder.blocks.{n}.feed_forward_norm.gamma             bert.encoder.layer.{n}.output.LayerNorm.weight            H
encoder.blocks.{n}.feed_forward_norm.beta              bert.encoder.layer.{n}.output.LayerNorm.bias              H
""")  # noqa: E501
_POOLER = _table("""
encoder.pooler.dense.kernel  bert.pooler.dense.weight  HxH
encoder.pooler.dense.bias    bert.pooler.dense.bias    H
""")
_MASKED_LANGUAGE_MODEL = _table("""
masked_language_model.dense.kernel  cls.predictions.transform.dense.weight      HxH
masked_language_model.dense.bias    cls.predictions.transform.dense.bias        H
masked_language_model.norm.gamma    cls.predictions.transform.LayerNorm.weight  H
masked_language_model.norm.beta     cls.predictions.transform.LayerNorm.bias    H
masked_language_model.bias          cls.predictions.bias                        V
""")
NEXT_SENTENCE = _table("""
next_sentence.logits.kernel  cls.seq_relationship.weight
next_sentence.logits.bias    cls.seq_relationship.bias
""")
CLASSIFIER = _table("""
head.logits.kernel  classifier.weight
head.logits.bias    classifier.bias
""")
# transformers has no such head: under another name, it makes a new one and says so.
POOLED_CLASSIFIER = _table("""
head.logits.kernel  pooled_classifier.weight
head.logits.bias    pooled_classifier.bias
""")
SPAN = _table("""
head.logits.kernel  qa_outputs.weight
head.logits.bias    qa_outputs.bias
""")

# ModernBERT has no checkpoints of Google's. Its first block has no norm before attention.
_MODERN_EMBEDDINGS = _table("""
encoder.embeddings.token.embeddings  model.embeddings.tok_embeddings.weight  VxH
encoder.embeddings.norm.gamma        model.embeddings.norm.weight            H
""")
_MODERN_BLOCK = _table("""
encoder.blocks.{n}.attention_norm.gamma                model.layers.{n}.attn_norm.weight  H
encoder.blocks.{n}.attention.query_key_value.kernel    model.layers.{n}.attn.Wqkv.weight  Hx3H
encoder.blocks.{n}.attention.output_projection.kernel  model.layers.{n}.attn.Wo.weight    HxH
encoder.blocks.{n}.feed_forward_norm.gamma             model.layers.{n}.mlp_norm.weight   H
encoder.blocks.{n}.feed_forward.expand.kernel          model.layers.{n}.mlp.Wi.weight     Hx2F
encoder.blocks.{n}.feed_forward.contract.kernel        model.layers.{n}.mlp.Wo.weight     FxH
""")
_MODERN_POOLER = _table("""
encoder.pooler.dense.kernel  head.dense.weight  HxH
encoder.pooler.norm.gamma    head.norm.weight   H
""")
_MODERN_MASKED_LANGUAGE_MODEL = _table("""
masked_language_model.dense.kernel  head.dense.weight  HxH
masked_language_model.norm.gamma    head.norm.weight   H
masked_language_model.bias          decoder.bias       V
""")

# A decoder has the rows of an encoder and of the masked-LM head besides.
_CROSS_ATTENTION = _table("""
decoder.blocks.{n}.cross_attention.query.kernel              bert.encoder.layer.{n}.crossattention.self.query.weight        HxH
decoder.blocks.{n}.cross_attention.query.bias                bert.encoder.layer.{n}.crossattention.self.query.bias          H
decoder.blocks.{n}.cross_attention.key.kernel                bert.encoder.layer.{n}.crossattention.self.key.weight          HxH
decoder.blocks.{n}.cross_attention.key.bias                  bert.encoder.layer.{n}.crossattention.self.key.bias            H
decoder.blocks.{n}.cross_attention.value.kernel              bert.encoder.layer.{n}.crossattention.self.value.weight        HxH
decoder.blocks.{n}.cross_attention.value.bias                bert.encoder.layer.{n}.crossattention.self.value.bias          H
decoder.blocks.{n}.cross_attention.output_projection.kernel  bert.encoder.layer.{n}.crossattention.output.dense.weight      HxH
decoder.blocks.{n}.cross_attention.output_projection.bias    bert.encoder.layer.{n}.crossattention.output.dense.bias        H
decoder.blocks.{n}.cross_attention_norm.gamma                bert.encoder.layer.{n}.crossattention.output.LayerNorm.weight  H
decoder.blocks.{n}.cross_attention_norm.beta                 bert.encoder.layer.{n}.crossattention.output.LayerNorm.bias    H
""")  # noqa: E501
DECODER_HEAD = tuple(
    row._replace(ours=row.ours.replace("masked_language_model", "decoder.head"))
    for row in _MASKED_LANGUAGE_MODEL
)

# VisualBERT has these rows besides BERT's; E is the number of features of a region.
VISUAL_EMBEDDING = _table("""
visual.projection.kernel    bert.embeddings.visual_projection.weight             ExH
visual.projection.bias      bert.embeddings.visual_projection.bias               H
visual.segment.embeddings   bert.embeddings.visual_token_type_embeddings.weight  GxH
visual.position.embeddings  bert.embeddings.visual_position_embeddings.weight    SxH
""")

# Encoders of patches. The names are those of ViT's files, which transformers 5 keeps, though its
# modules have others; those of its kin begin otherwise.
_PATCH_EMBEDDINGS = _table("""
encoder.embeddings.special_tokens.0  vit.embeddings.cls_token                           1x1xH
encoder.embeddings.kernel            vit.embeddings.patch_embeddings.projection.weight  PxPxCxH
encoder.embeddings.bias              vit.embeddings.patch_embeddings.projection.bias    H
encoder.embeddings.positions         vit.embeddings.position_embeddings                 1xSxH
encoder.norm.gamma                   vit.layernorm.weight                               H
encoder.norm.beta                    vit.layernorm.bias                                 H
""")
_DISTILLATION_TOKEN = _table("""
encoder.embeddings.special_tokens.1  vit.embeddings.distillation_token  1x1xH
""")
_VIT_ATTENTION = _table("""
encoder.blocks.{n}.attention.query.kernel              vit.encoder.layer.{n}.attention.attention.query.weight  HxA
encoder.blocks.{n}.attention.query.bias                vit.encoder.layer.{n}.attention.attention.query.bias    A
encoder.blocks.{n}.attention.key.kernel                vit.encoder.layer.{n}.attention.attention.key.weight    HxA
encoder.blocks.{n}.attention.key.bias                  vit.encoder.layer.{n}.attention.attention.key.bias      A
encoder.blocks.{n}.attention.value.kernel              vit.encoder.layer.{n}.attention.attention.value.weight  HxA
encoder.blocks.{n}.attention.value.bias                vit.encoder.layer.{n}.attention.attention.value.bias    A
encoder.blocks.{n}.attention.output_projection.kernel  vit.encoder.layer.{n}.attention.output.dense.weight     AxH
encoder.blocks.{n}.attention.output_projection.bias    vit.encoder.layer.{n}.attention.output.dense.bias       H
""")  # noqa: E501
_VIT_BLOCK = _table("""
encoder.blocks.{n}.attention_norm.gamma          vit.encoder.layer.{n}.layernorm_before.weight    H
encoder.blocks.{n}.attention_norm.beta           vit.encoder.layer.{n}.layernorm_before.bias      H
encoder.blocks.{n}.feed_forward_norm.gamma       vit.encoder.layer.{n}.layernorm_after.weight     H
encoder.blocks.{n}.feed_forward_norm.beta        vit.encoder.layer.{n}.layernorm_after.bias       H
encoder.blocks.{n}.feed_forward.expand.kernel    vit.encoder.layer.{n}.intermediate.dense.weight  HxF
encoder.blocks.{n}.feed_forward.expand.bias      vit.encoder.layer.{n}.intermediate.dense.bias    F
encoder.blocks.{n}.feed_forward.contract.kernel  vit.encoder.layer.{n}.output.dense.weight        FxH
encoder.blocks.{n}.feed_forward.contract.bias    vit.encoder.layer.{n}.output.dense.bias          H
""")  # noqa: E501
_DINOV2_BLOCK = _table("""
encoder.blocks.{n}.attention_norm.gamma          vit.encoder.layer.{n}.norm1.weight          H
encoder.blocks.{n}.attention_norm.beta           vit.encoder.layer.{n}.norm1.bias            H
encoder.blocks.{n}.attention_scale               vit.encoder.layer.{n}.layer_scale1.lambda1  H
encoder.blocks.{n}.feed_forward_norm.gamma       vit.encoder.layer.{n}.norm2.weight          H
encoder.blocks.{n}.feed_forward_norm.beta        vit.encoder.layer.{n}.norm2.bias            H
encoder.blocks.{n}.feed_forward.expand.kernel    vit.encoder.layer.{n}.mlp.fc1.weight        HxF
encoder.blocks.{n}.feed_forward.expand.bias      vit.encoder.layer.{n}.mlp.fc1.bias          F
encoder.blocks.{n}.feed_forward.contract.kernel  vit.encoder.layer.{n}.mlp.fc2.weight        FxH
encoder.blocks.{n}.feed_forward.contract.bias    vit.encoder.layer.{n}.mlp.fc2.bias          H
encoder.blocks.{n}.feed_forward_scale            vit.encoder.layer.{n}.layer_scale2.lambda1  H
""")
_PATCH_POOLER = _table("""
encoder.pooler.dense.kernel  vit.pooler.dense.weight  HxH
encoder.pooler.dense.bias    vit.pooler.dense.bias    H
""")
PATCH_CLASSIFIER = _table("""
encoder.head.logits.kernel  classifier.weight
encoder.head.logits.bias    classifier.bias
""")
DISTILLED_CLASSIFIER = _table("""
encoder.head.logits.kernel               cls_classifier.weight
encoder.head.logits.bias                 cls_classifier.bias
encoder.distillation_head.logits.kernel  distillation_classifier.weight
encoder.distillation_head.logits.bias    distillation_classifier.bias
""")
SPECTROGRAM_CLASSIFIER = _table("""
encoder.head.logits.kernel  classifier.dense.weight
encoder.head.logits.bias    classifier.dense.bias
encoder.head_norm.gamma     classifier.layernorm.weight
encoder.head_norm.beta      classifier.layernorm.bias
""")
# What the names of an encoder without a head lack.
PATCH_PREFIXES = {
    "vit": "vit.",
    "deit": "deit.",
    "dinov2": "dinov2.",
    "audio-spectrogram-transformer": "audio_spectrogram_transformer.",
}


def encoder_weights(config: BertConfig) -> tuple[Weight, ...]:
    """Returns the rows of an encoder without its pooler, the token embeddings first."""
    if config.architecture == "bert":
        return (*_EMBEDDINGS, *_numbered(_BLOCK, config.num_layers))
    blocks = _numbered(_MODERN_BLOCK, config.num_layers)[1:]
    last = f"encoder.blocks.{config.num_layers - 1}.output_norm.gamma"
    return (*_MODERN_EMBEDDINGS, *blocks, Weight(last, "model.final_norm.weight", "H"))


def pooler_weights(config: BertConfig) -> tuple[Weight, ...]:
    """Returns the rows of an encoder's pooler."""
    return _POOLER if config.architecture == "bert" else _MODERN_POOLER


def patch_encoder_weights(config: PatchConfig) -> tuple[Weight, ...]:
    """Returns the rows of an encoder of patches without its head, with its pooler if it has one."""
    block = _DINOV2_BLOCK if config.architecture == "dinov2" else _VIT_BLOCK
    rows = (
        *_PATCH_EMBEDDINGS,
        *(_DISTILLATION_TOKEN if config.num_special_tokens == 2 else ()),
        *_numbered((*_VIT_ATTENTION, *block), config.num_layers),
        *(_PATCH_POOLER if config.pooler else ()),
    )
    prefix = PATCH_PREFIXES[config.architecture]
    return tuple(
        row._replace(huggingface=prefix + row.huggingface.removeprefix("vit.")) for row in rows
    )


def patch_head_weights(config: PatchConfig) -> tuple[Weight, ...]:
    """Returns the rows of the classification head of an encoder of patches."""
    if config.architecture == "audio-spectrogram-transformer":
        return SPECTROGRAM_CLASSIFIER
    return DISTILLED_CLASSIFIER if config.distillation_head else PATCH_CLASSIFIER


def masked_language_model_weights(config: BertConfig) -> tuple[Weight, ...]:
    """Returns the rows of the masked-LM head; ModernBERT's has the names of its pooler."""
    is_bert = config.architecture == "bert"
    return _MASKED_LANGUAGE_MODEL if is_bert else _MODERN_MASKED_LANGUAGE_MODEL


def decoder_weights(config: BertConfig) -> tuple[Weight, ...]:
    """Returns the rows of a decoder that an encoder has, too, with the encoder's names."""
    return tuple(
        row._replace(ours=f"decoder.{row.ours.removeprefix('encoder.')}")
        for row in encoder_weights(config)
    )


def encoder_decoder_weights(encoder: BertConfig, decoder: BertConfig) -> tuple[Weight, ...]:
    """Returns all rows of an encoder and its decoder, with the names of `EncoderDecoderModel`."""
    encoder_rows = (*encoder_weights(encoder), *_POOLER)
    decoder_rows = (
        *decoder_weights(decoder),
        *_numbered(_CROSS_ATTENTION, decoder.num_layers),
        *DECODER_HEAD,
    )
    return (
        *(
            row._replace(huggingface=f"encoder.{row.huggingface.removeprefix('bert.')}")
            for row in encoder_rows
        ),
        *(row._replace(huggingface=f"decoder.{row.huggingface}") for row in decoder_rows),
    )


def _numbered(rows: tuple[Weight, ...], num_layers: int) -> tuple[Weight, ...]:
    return tuple(
        row._replace(ours=row.ours.format(n=n), huggingface=row.huggingface.format(n=n))
        for n in range(num_layers)
        for row in rows
    )
