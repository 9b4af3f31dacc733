"""Settings of training that cannot work, each with what its message must say."""

_CALLBACKS = "lightning.pytorch.callbacks"
_LOGGERS = "lightning.pytorch.loggers"


def _callback(name: str, arguments: str = "") -> str:
    return f"+callbacks.mine={{_target_: {_CALLBACKS}.{name}{arguments}}}"


def _logger(name: str) -> str:
    return f"+logger.mine={{_target_: {_LOGGERS}.{name}}}"


EARLY_STOPPING = "callbacks=early_stopping"

BAD_TRAINING: dict[str, tuple[list[str], list[str]]] = {
    # Types.
    "a word for the epochs": (
        ["trainer.max_epochs=two"],
        ["trainer.max_epochs=two", "whole number"],
    ),
    "half an epoch": (["trainer.max_epochs=2.5"], ["trainer.max_epochs=2.5", "whole number"]),
    "a word for a switch": (
        ["trainer.enable_progress_bar=sometimes"],
        ["trainer.enable_progress_bar=sometimes", "true or false"],
    ),
    "a switch for a limit": (
        ["trainer.limit_val_batches=true"],
        ["trainer.limit_val_batches=true", "a number"],
    ),
    "no step between two checks": (["trainer.max_steps=null"], ["trainer.max_steps", "whole"]),
    "a profiler that there is not": (["trainer.profiler=foo"], ["trainer.profiler=foo", "simple"]),
    "a word for patience": (
        [EARLY_STOPPING, "callbacks.early_stopping.patience=two"],
        ["callbacks.early_stopping.patience=two", "whole number"],
    ),
    "a word for a switch of the optimiser": (
        ["+optimizer.amsgrad=maybe"],
        ["optimizer.amsgrad=maybe", "true or false"],
    ),
    "a word for the decay": (
        ["optimizer.weight_decay=little"],
        ["optimizer.weight_decay=little", "number"],
    ),
    "a decay of an unknown part": (
        ["optimizer.weight_decay_on=recurrent"],
        ["optimizer.weight_decay_on=recurrent", "all, feedforward"],
    ),
    "a part of a decay that there is not": (
        ["optimizer=adam", "optimizer.weight_decay_on=feedforward"],
        ["optimizer.weight_decay_on=feedforward", "as in +optimizer.weight_decay=0.01"],
    ),
    "a part of a decay of 0": (
        ["optimizer.weight_decay=0", "optimizer.weight_decay_on=feedforward"],
        ["optimizer.weight_decay_on=feedforward", "as in optimizer.weight_decay=0.01"],
    ),
    # Sizes of the Trainer.
    "a negative bound for gradients": (
        ["trainer.gradient_clip_val=-1"],
        ["trainer.gradient_clip_val=-1", "0 or more"],
    ),
    "no bound for gradients": (
        ["trainer.gradient_clip_val=nan"],
        ["trainer.gradient_clip_val=nan", "0 or more"],
    ),
    "no epoch": (["trainer.max_epochs=0"], ["trainer.max_epochs=0", "at least 1", "-1"]),
    "no step": (["trainer.max_steps=0"], ["trainer.max_steps=0", "at least 1", "-1"]),
    "more epochs at least than at most": (
        ["trainer.min_epochs=3"],
        ["trainer.min_epochs=3", "trainer.max_epochs=2"],
    ),
    "no batch to train on": (
        ["trainer.limit_train_batches=0"],
        ["trainer.limit_train_batches=0", "above 0"],
    ),
    "a share of the test that is none": (
        ["trainer.limit_test_batches=0.1"],
        ["trainer.limit_test_batches=0.1", "one test batch"],
    ),
    "a negative limit": (
        ["trainer.limit_val_batches=-1"],
        ["trainer.limit_val_batches=-1", "0 or more"],
    ),
    "more than all batches": (
        ["trainer.limit_train_batches=1.5"],
        ["trainer.limit_train_batches=1.5", "from 0.0 to 1.0"],
    ),
    "a share of the batches that is none": (
        ["trainer.limit_train_batches=0.1"],
        ["trainer.limit_train_batches=0.1", "3 training batches"],
    ),
    "more batches a step than an epoch has": (
        ["trainer.accumulate_grad_batches=4"],
        ["trainer.accumulate_grad_batches=4", "3 training batches", "<= 3"],
    ),
    "a validation after more batches than there are": (
        ["trainer.val_check_interval=10"],
        ["trainer.val_check_interval=10", "3 training batches", "trainer.val_check_interval <= 3"],
    ),
    "a validation after more epochs than there are": (
        ["trainer.check_val_every_n_epoch=3"],
        ["trainer.check_val_every_n_epoch=3", "trainer.max_epochs=2"],
    ),
    "a switch for an interval": (
        ["trainer.val_check_interval=true"],
        ["trainer.val_check_interval=true", "share"],
    ),
    "a number for a time": (["trainer.max_time=5"], ["trainer.max_time=5", "hours"]),
    "a time that is over": (["trainer.max_time={hours: -1}"], ["trainer.max_time=", "hours"]),
    "a precision that is not installed": (
        ["trainer.precision=transformer-engine"],
        ["transformer_engine", "pip install"],
    ),
    "an eps that is 0 in float16": (
        ["trainer.precision=16-true"],
        ["optimizer.eps=1e-08", "16-true", "+optimizer.eps=1e-4", "optimizer=sgd"],
    ),
    "clipping what a fused optimiser unscales": (
        ["trainer.precision=16-mixed", "+optimizer.fused=true", "trainer.gradient_clip_val=1.0"],
        ["trainer.gradient_clip_val=1.0", "AdamW", "optimizer.fused", "bf16-mixed"],
    ),
    # What others decide.
    "callbacks of the trainer": (["+trainer.callbacks=[]"], ["trainer.callbacks", "+callbacks."]),
    "a logger of the trainer": (["trainer.logger=false"], ["trainer.logger", "logger=none"]),
    "a bare trainer": (["trainer.barebones=true"], ["trainer.barebones", "leave it out"]),
    "a bare trainer by force": (["+trainer.barebones=true"], ["trainer.barebones", "leave it"]),
    # Arguments of other people's classes.
    "an argument that is spelt in another way": (
        ["optimizer.beta1=0.8"],
        ["optimizer.beta1", "+optimizer.betas=...?"],
    ),
    "an argument without its plus": (
        ["optimizer.betas=[0.8,0.9]"],
        ["optimizer.betas", "a plus", "+optimizer.betas="],
    ),
    "an argument of a callback without its plus": (
        [EARLY_STOPPING, "callbacks.early_stopping.mode=max"],
        ["+callbacks.early_stopping.mode="],
    ),
    "an argument of a callback that is not chosen": (
        ["callbacks.early_stopping.patience=3"],
        ["callbacks.early_stopping.patience", "callbacks=early_stopping"],
    ),
    "an argument without its plus, of a callback that is not chosen": (
        ["callbacks.early_stopping.mode=max"],
        ["callbacks.early_stopping", "add callbacks=early_stopping"],
    ),
    "an argument that another optimiser has": (
        ["optimizer._target_=torch.optim.LBFGS"],
        ["torch.optim.LBFGS", "weight_decay", "~optimizer.weight_decay"],
    ),
    "an optimiser that runs a batch again, and states that are carried on": (
        [
            *("optimizer._target_=torch.optim.LBFGS", "~optimizer.weight_decay"),
            *("model.h_0=carry", "data.order=streams", "data.stride=8", "data.centre=none"),
        ],
        ["model.h_0=carry", "LBFGS", "another optimiser"],
    ),
    "arguments that do not go together": (
        ["+optimizer.foreach=true", "+optimizer.fused=true"],
        ["optimizer.foreach=true", "optimizer.fused=true"],
    ),
    "an optimiser that takes no step": (
        ["+optimizer.differentiable=true"],
        ["optimizer.differentiable=true", "takes no step"],
    ),
    "one of two values": (["+optimizer.betas=[0.9]"], ["optimizer.betas=[0.9]", "2 values"]),
    "an infinite decay": (["optimizer.weight_decay=inf"], ["optimizer.weight_decay=inf", "finite"]),
    "larger errors": (["+optimizer.maximize=true"], ["optimizer.maximize=true", "leave it out"]),
    # The learning rate.
    "a schedule of the rate in no steps": (
        ["lr_scheduler=cosine", "lr_scheduler.T_max=0"],
        ["lr_scheduler", "lr_scheduler.T_max=0"],
    ),
    "a schedule of the rate that ends before the run": (
        ["lr_scheduler=one_cycle", "lr_scheduler.total_steps=3"],
        ["lr_scheduler.total_steps=3", "6 steps", "total_steps"],
    ),
    "a rate below zero": (
        ["lr_scheduler=one_cycle", "lr_scheduler.max_lr=-1"],
        ["lr_scheduler.max_lr=-1", "rate"],
    ),
    "a schedule that moves by the week": (
        ["lr_scheduler=cosine", "lr_scheduler.interval=week"],
        ["lr_scheduler.interval=week", "step, epoch"],
    ),
    "steps counted in epochs": (
        ["lr_scheduler=cosine", "lr_scheduler.interval=epoch"],
        ["lr_scheduler.T_max=total_steps", "lr_scheduler.T_max=2"],
    ),
    "a plateau that raises the rate": (
        ["lr_scheduler=plateau", "lr_scheduler.factor=-0.5"],
        ["lr_scheduler.factor=-0.5", "between 0 and 1"],
    ),
    "a plateau of the largest error": (
        ["lr_scheduler=plateau", "+lr_scheduler.mode=max"],
        ["lr_scheduler.mode=max", "leave it out"],
    ),
    "no patience at all": (
        ["lr_scheduler=plateau", "lr_scheduler.patience=-1"],
        ["lr_scheduler.patience=-1", "0 or more"],
    ),
    "a plateau of single steps": (
        ["lr_scheduler=plateau", "lr_scheduler.interval=step"],
        ["lr_scheduler.interval=step", "epoch"],
    ),
    "a plateau without validation": (
        ["lr_scheduler=plateau", "trainer.limit_val_batches=0"],
        ["lr_scheduler.monitor=val/loss", "trainer.limit_val_batches=0"],
    ),
    "a plateau of something else": (
        ["lr_scheduler=plateau", "lr_scheduler.monitor=val_mse"],
        ["lr_scheduler.monitor=val_mse", "val/mse?"],
    ),
    # Callbacks.
    "a metric with another stroke": (
        [EARLY_STOPPING, "callbacks.early_stopping.monitor=val_loss"],
        ["callbacks.early_stopping.monitor=val_loss", "val/loss?"],
    ),
    "a metric that nobody logs": (
        [EARLY_STOPPING, "callbacks.early_stopping.monitor=accuracy"],
        ["callbacks.early_stopping.monitor=accuracy", "train/loss, samples/s, val/loss"],
    ),
    "a plateau of a coverage": (
        ["lr_scheduler=plateau", "lr_scheduler.monitor=val/coverage_80", "model.loss=quantile"],
        ["lr_scheduler.monitor=val/coverage_80 is no error to be lowest", "use one of train/loss"],
    ),
    "a checkpoint by a metric that nobody logs": (
        [_callback("ModelCheckpoint", ", monitor: valid_loss")],
        ["callbacks.mine.monitor=valid_loss", "val/loss?"],
    ),
    "early stopping without validation": (
        [EARLY_STOPPING, "trainer.limit_val_batches=0"],
        ["callbacks.early_stopping.monitor=val/loss", "trainer.limit_val_batches=0"],
    ),
    "early stopping without rows for validation": (
        [EARLY_STOPPING, "data.split=[1,0,0]"],
        ["callbacks.early_stopping.monitor=val/loss", "data.split=[1,0,0] leaves them out"],
    ),
    "early stopping the wrong way up": (
        [EARLY_STOPPING, "+callbacks.early_stopping.mode=down"],
        ["callbacks.early_stopping", "down"],
    ),
    "a callback without its plus": (
        ["callbacks.mine={_target_: package.Mine}"],
        ["callbacks.mine", "+callbacks.mine="],
    ),
    "a callback for another model": (
        [_callback("BackboneFinetuning")],
        ["callbacks.mine", "backbone", "leave it out"],
    ),
    "two that accumulate gradients": (
        [
            _callback("GradientAccumulationScheduler", ", scheduling: {0: 2}"),
            "trainer.accumulate_grad_batches=2",
        ],
        ["trainer.accumulate_grad_batches=2", "callbacks.mine"],
    ),
    "a schedule of steps whose number changes from epoch to epoch": (
        [
            _callback("GradientAccumulationScheduler", ", scheduling: {0: 4}"),
            "lr_scheduler=one_cycle",
        ],
        ["OneCycleLR", "callbacks.mine", "trainer.accumulate_grad_batches"],
    ),
    "early stopping in epochs without a validation": (
        [
            EARLY_STOPPING,
            "callbacks.early_stopping.check_on_train_epoch_end=true",
            "trainer.check_val_every_n_epoch=2",
        ],
        ["callbacks.early_stopping.check_on_train_epoch_end=true", "use"],
    ),
    "a finder of learning rates": (
        [_callback("LearningRateFinder")],
        ["callbacks.mine", "LearningRateFinder", "-m optimizer.lr="],
    ),
    "a finder of batch sizes": (
        [_callback("BatchSizeFinder")],
        ["callbacks.mine", "BatchSizeFinder", "-m data.batch_size="],
    ),
    "averages that nothing measures": (
        [_callback("StochasticWeightAveraging", ", swa_lrs: 0.01")],
        ["callbacks.mine", "validated, kept or tested", "or EMAWeightAveraging"],
    ),
    "averages that would not wait for their epoch": (
        [_callback("EMAWeightAveraging", ", update_starting_at_epoch: 3")],
        ["callbacks.mine.update_starting_at_epoch=3", "update_starting_at_step"],
    ),
    "a monitor of the rate without a logger": (
        [_callback("LearningRateMonitor")],
        ["callbacks.mine", "LearningRateMonitor", "logger=csv"],
    ),
    # Loggers.
    "a logger that is not installed": (
        [_logger("CometLogger")],
        ["logger.mine", "comet-ml", "pip install"],
    ),
    "W&B, which is an extra": (["logger=wandb"], ["logger.wandb", "'gru-parallel[wandb]'"]),
    "MLflow, which is an extra": (["logger=mlflow"], ["logger.mlflow", "'gru-parallel[mlflow]'"]),
    "a logger into a file": (
        ["logger=csv", "logger.csv.save_dir=file/logs"],
        ["logger.csv.save_dir=file/logs", "folder"],
    ),
    "a logger into no folder": (
        ["logger=csv", "logger.csv.save_dir="],
        ["logger.csv.save_dir is empty"],
    ),
    "an argument of no schedule": (
        ["+lr_scheduler.foo=1"],
        ["lr_scheduler.foo", "lr_scheduler=cosine", "~lr_scheduler.foo"],
    ),
    "no checkpoint to begin with": (["init_from="], ["init_from=", ".ckpt file"]),
    "a logger into nothing": (
        ["logger=csv", "logger.csv.save_dir=null"],
        ["logger.csv.save_dir=null", "a path"],
    ),
    "a logger into a folder that Hydra does not know": (
        ["logger=csv", "logger.csv.save_dir=${hydra:runtime.nope}"],
        ["hydra.runtime.nope"],
    ),
    "a logger into the metrics of the run": (
        ["logger=csv", "logger.csv.name=null"],
        ["logger.csv.name=null", "metrics.csv"],
    ),
    "a logger that never writes": (
        ["logger=csv", "+logger.csv.flush_logs_every_n_steps=0"],
        ["logger.csv.flush_logs_every_n_steps=0", "at least 1"],
    ),
    "an argument that a logger cannot pass on": (
        ["logger=tensorboard", "+logger.tensorboard.foo=1"],
        ["logger.tensorboard", "foo", "max_queue"],
    ),
    "a callback for a logger": (
        ["+logger.mine={_target_: lightning.pytorch.callbacks.Timer}"],
        ["logger.mine", "Logger"],
    ),
    "an argument that a logger does not know": (
        ["logger=csv", "+logger.csv.foo=1"],
        ["logger.csv", "foo", "flush_logs_every_n_steps"],
    ),
    "a graph of the model": (
        ["logger=tensorboard", "+logger.tensorboard.log_graph=true"],
        ["logger.tensorboard.log_graph=true", "leave it out"],
    ),
}
