"""What tasks on raw examples share: Keras' methods for training, which also take examples.

The way of an example: `examples` checks it, `batches_of` tokenizes it, Keras trains on it.

Axes: B batch.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_bert_scratch.data.batching import LengthBucketedBatches
from keras_bert_scratch.extras import check_installed
from keras_bert_scratch.models.adapting import has_lora
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.serving.engines import Engine, as_engine
from keras_bert_scratch.tasks.encoder_model import EncoderModel
from keras_bert_scratch.text.columns import is_text
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.training.data_checks import warn_of_steps, warn_of_unknown_tokens
from keras_bert_scratch.training.fine_tuning import (
    FineTuning,
    begin,
    choose_fine_tuning,
    fine_tuning_optimizer,
)
from keras_bert_scratch.training.memory import check_training_fits
from keras_bert_scratch.training.training_step import TrainingStep


class ExampleModel(EncoderModel):
    """A model that takes raw examples where Keras takes `x`; subclasses say what an example is.

    Examples are held in memory, and read once. Anything else is data that Keras knows, see `ready`.

    Args:
        encoder: The encoder.
        tokenizer: Turns texts into ids; None if only ready inputs are used.
        sequence_length: Most tokens of a row; None for all that the encoder's positions cover.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Raises:
        ValueError: If the tokenizer or the length does not fit the encoder.
    """

    def __init__(
        self,
        encoder: BertEncoder,
        tokenizer: WordPieceTokenizer | None,
        sequence_length: int | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, tokenizer, **kwargs)
        positions = encoder.config.max_positions
        if sequence_length is not None and sequence_length > positions:
            raise ValueError(
                f"sequence_length must be at most the encoder's max_positions, received "
                f"{sequence_length} and {positions}: choose a smaller one."
            )
        self.sequence_length = sequence_length or positions

    # === What subclasses say of their examples ===
    # Whether examples can be held out, see `split`.
    can_split = False
    # Whether the encoder's states, pooled as they are, tell what a text is about.
    knows_sentences = False
    # Whether the examples have nothing of what the encoder has learned to read.
    learns_anew = False

    def is_examples(self, x: Any) -> bool:
        """Whether `x` is held in memory and can only be raw examples."""
        return is_text(x)

    def examples(
        self, x: Any, y: Any = None, sample_weight: Any = None, *, labelled: bool = False
    ) -> Any:
        """Checks examples, labels and weights, and takes them by position.

        Args:
            x: Examples, see the class.
            y: Their labels, or None.
            sample_weight: Their weights, or None.
            labelled: Whether there must be labels.

        Raises:
            ValueError: If columns differ in length, or an example, a label or a weight is refused.
            TypeError: If something is not understood.
        """
        raise NotImplementedError

    def check_examples(self, examples: Any) -> None:
        """Refuses examples that can neither be learned from nor evaluated on."""

    def split(self, examples: Any, share: float) -> tuple[Any, Any]:
        """Returns the examples to train on, and a share of them held out for validation."""
        raise NotImplementedError

    def start_head(self, examples: Any) -> None:
        """Gives a new head better weights than random ones, if the task knows some."""

    def check_training_labels(self, examples: Any) -> None:
        """Raises a ValueError if nothing can be learned from the labels."""

    def warn_before_fit(
        self, examples: Any, batches: LengthBucketedBatches, num_batches: int
    ) -> None:
        """Says in the log what is likely to be wrong, see `training.data_checks`.

        Args:
            examples: To train on.
            batches: The same, tokenized.
            num_batches: Number of batches of all epochs.
        """
        # Keras refuses a model that is not compiled; what `fit` has chosen itself needs no warning.
        if self.optimizer is not None and not self.chooses_training:
            warn_of_steps(num_batches, len(batches.lengths), self.optimizer)
        warn_of_unknown_tokens(batches.token_ids, self.texts_of(examples), self.check_tokenizer())

    def warn_after_fit(self, held_out: Any, history: keras.callbacks.History) -> None:
        """Says in the log if what was learned is of no use on held-out examples."""

    def texts_of(self, examples: Any) -> list[str]:
        """Returns the texts of examples, as far as a reader of the log should see them."""
        return []

    def weigh_classes(self, examples: Any, class_weight: Any) -> Any:
        """Multiplies the examples' weights by those of their classes, if there are any."""
        raise NotImplementedError

    def batches_of(
        self, examples: Any, *, batch_size: int, seed: int | None = None, training: bool = False
    ) -> LengthBucketedBatches:
        """Tokenizes checked examples into batches of similar lengths.

        Args:
            examples: What `examples` returns.
            batch_size: B.
            seed: Seed of the batch order; None sorts by length.
            training: Whether the batches are for training: then each window of a text is an example
                with its label and weight, while otherwise the windows of a text come together.
        """
        raise NotImplementedError

    def ready(
        self, x: Any, y: Any = None, *, training: bool = False, labelled: bool = True
    ) -> tuple[Any, Any]:
        """Returns inputs and labels as Keras takes them, of anything but raw examples.

        Args:
            x: Ready inputs, a dataset or a generator.
            y: Labels, or None.
            training: Whether the model is to be trained on them.
            labelled: Whether labels that come with x are used.
        """
        return x, y

    def ready_class_weight(self, class_weight: Any) -> Any:
        """Returns the `class_weight` that Keras takes beside ready inputs."""
        return class_weight

    def evaluate_examples(
        self, x: Any, y: Any, sample_weight: Any, batch_size: int, **settings: Any
    ) -> Any:
        """Evaluates raw examples, for `evaluate`; the settings are the other arguments."""
        refuse_given(steps=settings["steps"])
        examples = self.examples(x, y, sample_weight, labelled=True)
        self.check_examples(examples)
        batches = self.batches_of(examples, batch_size=batch_size)
        return super().evaluate(batches.dataset(), **settings)

    def predict_examples(self, x: Any, batch_size: int, **settings: Any) -> Any:
        """Predicts raw examples, for `predict`; the settings are the other arguments."""
        raise NotImplementedError

    def answer_by_engine(
        self, engine: Engine, x: Any, batch_size: int, verbose: Any
    ) -> np.ndarray | None:
        """Predicts raw examples by an engine; None if Keras itself is chosen.

        Raises:
            ValueError: If an engine cannot answer for the model, or for `x`.
        """
        raise ValueError(
            f"{type(self).__name__} has no engine {engine.name!r}: classifiers and sentence "
            "encoders have. Use engine='keras'."
        )

    # === Batches ===
    def batches(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        *,
        batch_size: int = 32,
        seed: int | None = None,
        training: bool = False,
    ) -> LengthBucketedBatches:
        """Tokenizes examples held in memory, once, into batches of similar lengths.

        Args:
            x: Examples, see the class.
            y: Their labels, or None.
            sample_weight: Their weights, or None, see `fit`.
            class_weight: Weights of their classes, or None, see `fit`.
            batch_size: B.
            seed: Seed of the batch order; None sorts by length.
            training: Whether the batches are for training; see `batches_of`.

        Raises:
            ValueError: If the model has no tokenizer, the columns differ in length, or a label or
                weight is refused.
            TypeError: If an example is not understood.
        """
        examples = self.weigh_classes(self.examples(x, y, sample_weight), class_weight)
        return self.batches_of(examples, batch_size=batch_size, seed=seed, training=training)

    # === Keras' methods ===
    # Whether `compile` was given no optimizer, so that `fit` chooses.
    chooses_training = False
    # What the last `fit` chose, for reports.
    chosen_training: FineTuning | None = None

    def compile(self, optimizer: Any = "auto", loss: Any = "auto", **kwargs: Any) -> None:  # type: ignore[override]
        """Compiles as `keras.Model.compile` does, with defaults that fit the task.

        Args:
            optimizer: A Keras optimizer, see `keras_bert_scratch.adamw`; by default AdamW, with
                which each `fit` on raw examples chooses rate, schedule, epochs and batch size, as
                far as they are not given, see `training.fine_tuning`.
            loss: By default what `default_loss` returns.
            **kwargs: See `EncoderModel.compile`.

        Raises:
            ValueError: Under `tf.distribute`, if there is no optimizer.
        """
        self.chooses_training = isinstance(optimizer, str) and optimizer == "auto"
        if self.chooses_training:
            if self._strategy is not None:
                raise ValueError(
                    "A training is chosen for one device, and under tf.distribute there are more: "
                    "compile with an optimizer, such as adamw(5e-5, total_steps=800)."
                )
            optimizer = fine_tuning_optimizer()
        super().compile(optimizer, loss, **kwargs)

    def get_compile_config(self) -> dict[str, Any] | None:
        """Returns the arguments of `compile`, so that the training of a loaded model is chosen."""
        config = super().get_compile_config()
        return config and (config | {"optimizer": "auto"} if self.chooses_training else config)

    def _check_optimizer(self) -> None:
        """Refuses data of which no training can be chosen."""
        if self.chooses_training:
            raise ValueError(
                "A training is chosen by the number of examples in memory, which neither single "
                "batches nor datasets tell: compile with an optimizer, such as "
                "adamw(5e-5, total_steps=...)."
            )

    @property
    def _step(self) -> TrainingStep:
        """What the training asks of `fit`: nothing, unless `training_step` does."""
        step = self.training_step
        return step if isinstance(step, TrainingStep) else TrainingStep()

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int | None = None,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
    ) -> keras.callbacks.History:
        """Trains as `keras.Model.fit` does, also on raw examples.

        With examples, batches hold rows of similar lengths, in an order that follows from
        `keras.utils.set_random_seed` and the epoch; and the log says what is likely to be wrong,
        such as unknown tokens, texts that are cut, or too few steps, see `training.data_checks`.

        Args:
            x: Examples, see the class, or whatever Keras takes.
            y: Their labels; None where the examples hold them.
            batch_size: B, by default 32.
            epochs: As in Keras, by default 1. After `compile` without an optimizer, epochs, batch
                size and rate are chosen by the number of examples where they are not given, and the
                weights of the best epoch on the validation data are kept; of many examples some are
                held out for that.
            verbose: As in Keras.
            callbacks: Keras callbacks.
            validation_split: Share of the examples held out for validation, stratified by label;
                not for tagging and question answering.
            validation_data: `(x, y)` or `(x, y, sample_weight)`, a dataset, or x where it holds the
                labels.
            shuffle: Whether the order changes with every epoch.
            class_weight: A dict of class, by name or id, to weight.
            sample_weight: One weight an example; for taggers also one a word.
            initial_epoch: As in Keras.
            steps_per_epoch: As in Keras.
            validation_steps: As in Keras.
            validation_batch_size: B of the validation, by default `batch_size`.
            validation_freq: As in Keras.

        Raises:
            ValueError: If an example, a label or a weight is refused, or a batch needs more memory
                than there is; with `DifferentialPrivacy`, if it cannot hold; under
                `tf.distribute`, if the workers' examples or seeds differ, or the replicas cannot
                share a batch evenly.
        """
        step, is_examples = self._step, self.is_examples(x)
        draws = is_examples and shuffle and steps_per_epoch is None
        step.check_fit(self, draws=draws, callbacks=callbacks, class_weight=class_weight)
        check_callbacks(callbacks)
        held_out = self._held_out(validation_data)
        validation_size = validation_batch_size or batch_size
        if is_examples:
            examples = self.examples(x, y, sample_weight, labelled=True)
            self.check_examples(examples)
            if validation_split:
                examples, held_out = self.split(examples, validation_split)
            self.check_training_labels(examples)
            self.chosen_training = chosen = None
            if self.chooses_training:
                chosen = choose_fine_tuning(
                    len(examples),
                    self.encoder.config,
                    batch_size=batch_size,
                    epochs=epochs,
                    can_hold_out=self.can_split and validation_data is None and held_out is None,
                    knows_sentences=self.knows_sentences,
                    learns_anew=self.learns_anew,
                    is_adapted=has_lora(self.encoder),
                )
                self.chosen_training = chosen
                batch_size, epochs = chosen.batch_size, chosen.epochs
                if chosen.held_out:
                    examples, held_out = self.split(examples, chosen.held_out)
                if held_out is not None or validation_data is not None:
                    best = keras.callbacks.EarlyStopping(
                        patience=max(3, chosen.epochs // 4), restore_best_weights=True
                    )
                    callbacks = [*keras.tree.flatten(callbacks or []), best]
            examples = self.weigh_classes(examples, class_weight)
            seed = new_seed() if shuffle else None
            batches = self.batches_of(
                examples, batch_size=batch_size or 32, seed=seed, training=True
            )
            self._check_batches(batches)
            epochs = epochs or 1
            started = step.start(batches, epochs, initial_epoch)
            callbacks = [started, batches.follow_epochs(), *keras.tree.flatten(callbacks or [])]
            num_steps = steps_per_epoch or len(batches)
            self.warn_before_fit(examples, batches, num_steps * (epochs - initial_epoch))
            if chosen is not None:
                self._begin(chosen, examples, num_steps, initial_epoch)
                if verbose:
                    print(f"Chosen for {len(examples)} examples: {chosen}.")
            x, y, sample_weight, class_weight = batches.dataset(), None, None, None
            batch_size, validation_split = None, 0.0
        else:
            self._check_optimizer()
            x, y = self.ready(x, y, training=True)
            class_weight = self.ready_class_weight(class_weight)
        history = super().fit(
            x,
            y,
            batch_size=batch_size,
            epochs=epochs or 1,
            verbose=verbose,
            callbacks=callbacks,
            validation_split=validation_split,
            validation_data=self._validation(validation_data, held_out, validation_size),
            # A dataset has its own order, and Keras warns if told to shuffle it.
            shuffle=shuffle and not isinstance(x, tf.data.Dataset),
            class_weight=class_weight,
            sample_weight=sample_weight,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_batch_size=validation_size,
            validation_freq=validation_freq,
        )
        self.warn_after_fit(held_out, history)
        return history

    def _begin(
        self, chosen: FineTuning, examples: Any, steps_per_epoch: int, initial_epoch: int
    ) -> None:
        """Prepares head and optimizer for a training that was chosen; a resumed one goes on."""
        if not initial_epoch:
            self.start_head(examples)
        begin(
            self.optimizer,
            chosen.learning_rate,
            chosen.epochs * steps_per_epoch,
            restart=not initial_epoch,
        )
        # It was traced with another schedule.
        self.train_function = None

    def _check_batches(self, batches: LengthBucketedBatches) -> None:
        """Refuses batches that memory does not hold, or that differ between workers."""
        check_training_fits(
            self.encoder,
            sum(int(np.prod(weight.shape)) for weight in self.trainable_weights),
            -(-self._step.rows_at_once(batches) // self.num_replicas),
            int(batches.lengths.max()),
        )
        self.check_workers(batches)

    def _held_out(self, data: Any) -> Any:
        """Returns `validation_data` checked if it is raw examples, else None."""
        x, *columns = data if isinstance(data, tuple) else (data,)
        if not self.is_examples(x):
            return None
        held_out = self.examples(x, *columns, labelled=True)
        self.check_examples(held_out)
        return held_out

    def _validation(self, data: Any, held_out: Any, batch_size: int | None) -> Any:
        """Returns what Keras takes as `validation_data`: of the held-out examples if there are."""
        if held_out is not None:
            return self.batches_of(held_out, batch_size=batch_size or 32).dataset()
        x, *columns = data if isinstance(data, tuple) else (data,)
        x, y = self.ready(x, *columns[:1])
        return (x, y, *columns[1:]) if columns else x

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        engine: str | Engine = "keras",
        **kwargs: Any,
    ) -> Any:
        """Evaluates as `keras.Model.evaluate` does, also on raw examples.

        Args:
            x: Examples, see the class, or whatever Keras takes.
            y: Their labels; None where the examples hold them.
            batch_size: B, by default 32.
            verbose: As in Keras.
            sample_weight: One weight an example; not for the spans of taggers and question
                answerers, which count alike.
            steps: As in Keras; not for examples.
            callbacks: Keras callbacks.
            return_dict: As in Keras.
            engine: What computes the logits of texts in memory, see `predict`.
            **kwargs: As in Keras.

        Returns:
            The loss and the metrics. Taggers and question answerers return a dict of how good
            their answers are, see `score`.

        Raises:
            ValueError: If an example, a label or an argument is refused.
        """
        settings = {
            "verbose": verbose,
            "steps": steps,
            "callbacks": callbacks,
            "return_dict": return_dict,
            **kwargs,
        }
        if engine != "keras":
            refuse_given(steps=steps, callbacks=callbacks)
            answers = self.answer_by_engine(as_engine(engine), x, batch_size or 32, verbose)
            if answers is not None:
                return self._evaluate_answers(answers, x, y, sample_weight, return_dict)
        if self.is_examples(x):
            return self.evaluate_examples(x, y, sample_weight, batch_size or 32, **settings)
        x, y = self.ready(x, y)
        return super().evaluate(x, y, batch_size, sample_weight=sample_weight, **settings)

    def _evaluate_answers(
        self, answers: np.ndarray, x: Any, y: Any, sample_weight: Any, return_dict: bool
    ) -> Any:
        """Returns the loss and the metrics of logits that an engine has computed."""
        examples = self.examples(x, y, sample_weight, labelled=True)
        self.check_examples(examples)
        self.reset_metrics()
        columns = (answers, examples.targets, examples.sample_weight)
        # Some metrics take a fixed number of classes, none of rows.
        rows = [None if column is None else tf.convert_to_tensor(column) for column in columns]
        self._tracked_loss(rows[0], rows[1], rows[0], rows[2], training=False)
        self.compute_metrics(rows[0], rows[1], rows[0], rows[2])
        logs = {name: float(value) for name, value in self.get_metrics_result().items()}
        found = [*logs.values()]
        return logs if return_dict else found if len(found) > 1 else found[0]

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
        engine: str | Engine = "keras",
        **options: Any,
    ) -> Any:
        """Predicts as `keras.Model.predict` does, also on raw examples, in their order.

        Args:
            x: Examples, see the class, or whatever Keras takes.
            batch_size: B, by default 32.
            verbose: As in Keras.
            steps: As in Keras; not for examples.
            callbacks: Keras callbacks.
            engine: What computes the outputs of texts in memory, for classifiers and sentence
                encoders: `"keras"`; `"litert-int8"` or `"litert"`, a file that is built at the
                first call and compared with Keras; `"auto"`, the fastest; or an
                `serving.engines.Engine`.
            **options: Question answerers take `n_best`, the most spans of each answer.

        Returns:
            What `call` returns, for all examples, as numpy arrays. *Shape:* (number of examples,
            ...). Taggers and question answerers return an answer for each, see `answers`.
        """
        settings = {"verbose": verbose, "steps": steps, "callbacks": callbacks, **options}
        if engine != "keras":
            refuse_given(steps=steps, callbacks=callbacks)
            found = self.answer_by_engine(as_engine(engine), x, batch_size or 32, verbose)
            if found is not None:
                return found
        if self.is_examples(x):
            return self.predict_examples(x, batch_size or 32, **settings)
        return super().predict(self.ready(x, labelled=False)[0], batch_size, **settings)

    def predict_on_batch(self, x: Any) -> Any:
        """Predicts one batch as Keras does, or raw examples as `predict` does."""
        if self.is_examples(x):
            return self.predict(x, verbose=0)
        return super().predict_on_batch(x)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Trains on one batch as `keras.Model.train_on_batch` does, also on raw examples.

        Raises:
            ValueError: If the training is private, whose batches are drawn by `fit`, or there is
                no optimizer.
        """
        self._check_optimizer()
        self._step.check_single_batch()
        batch = self._single_batch(x, y, sample_weight, class_weight, training=True)
        class_weight = None if self.is_examples(x) else self.ready_class_weight(class_weight)
        return super().train_on_batch(*batch, class_weight=class_weight, return_dict=return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Evaluates one batch as `keras.Model.test_on_batch` does, also on raw examples."""
        batch = self._single_batch(x, y, sample_weight)
        return super().test_on_batch(*batch, return_dict=return_dict)

    def _single_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        *,
        training: bool = False,
    ) -> tuple[Any, ...]:
        if not self.is_examples(x):
            return (*self.ready(x, y), sample_weight)
        examples = self.examples(x, y, sample_weight, labelled=True)
        return self._whole_batch(self.weigh_classes(examples, class_weight), training=training)

    def _whole_batch(self, examples: Any, *, training: bool = False) -> tuple[Any, ...]:
        """Returns the rows of all examples as one batch, in the order in which they came."""
        batches = self.batches_of(examples, batch_size=32, training=training)
        return batches.batch(np.sort(np.concatenate(batches.order(0))))

    # === Config ===
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments that these tasks have."""
        return {**super().get_config(), "sequence_length": self.sequence_length}


def check_callbacks(callbacks: Any) -> None:
    """Refuses Keras' TensorBoard without the package: it would fail after the first epoch."""
    if any(isinstance(c, keras.callbacks.TensorBoard) for c in keras.tree.flatten(callbacks)):
        check_installed("tensorboard", "tensorboard", "keras.callbacks.TensorBoard")


def new_seed() -> int:
    """Returns a seed that follows from `keras.utils.set_random_seed`."""
    return int(np.random.randint(2**31))


def refuse_given(**arguments: Any) -> None:
    """Raises a ValueError if an argument that cannot act on examples is given."""
    if given := [name for name, value in arguments.items() if value is not None]:
        raise ValueError(
            f"{' and '.join(given)} cannot act on examples held in memory, which are read once: "
            "leave it out, or give a dataset, such as model.batches(x, y).dataset()."
        )
