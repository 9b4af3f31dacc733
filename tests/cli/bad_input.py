"""Settings that cannot work, each with what its message must say."""

BAD_SETTINGS: dict[str, tuple[list[str], list[str]]] = {
    # Keys and options.
    "a mistyped key": (["model.hiden_size=8"], ["model.hiden_size", "model.hidden_size?"]),
    "a mistyped section": (["modle.hidden_size=8"], ["modle.hidden_size", "model.hidden_size?"]),
    "a mistyped key of the trainer": (
        ["trainer.max_epoch=3"],
        ["trainer.max_epoch is", "trainer.max_epochs?"],
    ),
    "a key that nothing resembles": (["model.zzz=1"], ["model.zzz", "model.num_layers"]),
    "a key at the top": (["sede=1"], ["sede is", "seed?"]),
    "a key added by force": (["+model.n_heads=4"], ["model.n_heads", "leave it out"]),
    "a section added by force": (["+extra.thing=4"], ["extra", "use"]),
    "a key of another option": (["data.path=a.csv"], ["data.path", "data=csv"]),
    "an argument of the trainer that the plan decides": (
        ["trainer.devices=2"],
        ["trainer.devices", "placement.device_map"],
    ),
    "a mistyped option": (["schedule=gpip"], ["schedule=gpip", "schedule=gpipe?", "naive"]),
    "an unknown option": (["data=netcdf"], ["data=netcdf", "csv, lorenz96"]),
    "an unknown cluster": (["cluster=8xh10"], ["cluster=8xh10 is", "cluster=8xh100?"]),
    "a cluster by its name alone": (["cluster.name=8xh100"], ["cluster.name", "cluster=8xh100"]),
    "a mistyped key of a cluster": (
        ["cluster=8xh100", "cluster.inside.latency_ms=1"],
        ["cluster.inside.latency_ms", "cluster.inside.latency_us?"],
    ),
    "a key of another cluster": (["cluster.path=a.yaml"], ["cluster.path", "cluster=file"]),
    "a file of a cluster that there is not": (
        ["cluster=file", "cluster.path=nope.yaml"],
        ["cluster.path=nope.yaml", "No such file", "conf/cluster/8xh100.yaml"],
    ),
    "an unknown engine": (["engine.name=fibers"], ["engine.name=fibers", "threads"]),
    "a mistyped key of Hydra": (["hydra.run.dri=x"], ["hydra.run.dri", "hydra.run.dir?"]),
    "an option by its name alone": (["engine.name=processes"], ["engine.name", "engine=processes"]),
    "data by their name alone": (["data.name=csv"], ["data.name", "data=csv"]),
    "a setting taken away": (["~model.num_layers"], ["model.num_layers", "~"]),
    "a section taken away": (["~model"], ["~model", "model=gru"]),
    "an optional section taken away": (["~callbacks"], ["~callbacks", "callbacks=none"]),
    "a setting at the top taken away": (["~seed"], ["seed", "~"]),
    "an entry of a list taken away": (
        ["placement.device_map=[0,0,1,1,1]", "~placement.device_map.0"],
        ["~placement.device_map.0", "placement.device_map="],
    ),
    "a setting of a setting": (["model.num_layers.x=3"], ["model.num_layers.x", "num_layers?"]),
    "no name": (["=5"], ["=5 is not a setting"]),
    "the whole of Hydra": (["hydra=5"], ["hydra is not a setting"]),
    "a value that Hydra does not take": (["hydra.job.chdir=maybe"], ["hydra.job.chdir=maybe"]),
    "a folder of configs that there is not": (["hydra.searchpath=[nope]"], ["nope", "folder"]),
    "two options at once": (["logger=csv,tensorboard"], ["logger=csv,tensorboard", "one of them"]),
    "a variable that is not set": (
        ["data.n_steps=${oc.env:GRU_PARALLEL_NOT_SET}"],
        ["data.n_steps=${oc.env:GRU_PARALLEL_NOT_SET}", "GRU_PARALLEL_NOT_SET' not found"],
    ),
    "a reference to nothing": (
        ["data.n_steps=${data.steps}"],
        ["data.n_steps=${data.steps}", "data.steps"],
    ),
    "an override without a value": (["model.hidden_size"], ["model.hidden_size", "setting=value"]),
    # Types.
    "a text for a number": (["model.hidden_size=big"], ["model.hidden_size=big", "whole number"]),
    "a fraction for a whole number": (["data.horizon=2.5"], ["data.horizon=2.5", "whole number"]),
    "a number for a list": (["data.split=5"], ["data.split=5", "in brackets"]),
    "a text in a list of numbers": (["data.split=[a,b,c]"], ["data.split=", "in brackets"]),
    "an empty setting": (["model.num_layers=null"], ["model.num_layers", "whole number"]),
    # Sizes.
    "zero layers": (["model.num_layers=0"], ["model.num_layers=0", "at least 1"]),
    "a negative hidden size": (["model.hidden_size=-8"], ["model.hidden_size=-8", "at least 1"]),
    "zero layers a block": (["model.layers_per_block=0"], ["model.layers_per_block=0", "at least"]),
    "a block of more layers than there are": (
        ["model.layers_per_block=5"],
        ["model.layers_per_block=5", "model.num_layers=4"],
    ),
    "a series that fits into no memory": (
        ["data.n_steps=1000000000000"],
        ["data.n_steps=1000000000000", "TiB", "of memory"],
    ),
    "more layers than fit into any memory": (
        ["model.num_layers=1000", "model.hidden_size=1000000"],
        ["model.num_layers=1000", "TiB of weights"],
    ),
    "a model that fits into no memory": (
        ["model.hidden_size=1000000"],
        ["model.hidden_size=1000000", "TiB of weights", "of memory"],
    ),
    "chunks by a word": (["schedule.n_chunks=many"], ["schedule.n_chunks=many", "or auto"]),
    "zero chunks": (["schedule.n_chunks=0"], ["schedule.n_chunks=0", "at least 1"]),
    "no micro-batch": (["schedule.n_micro_batches=-1"], ["schedule.n_micro_batches=-1", "least 1"]),
    "an empty batch": (["data.batch_size=0"], ["data.batch_size=0", "at least 1"]),
    "no input": (["data.input_length=0"], ["data.input_length=0", "at least 1"]),
    "a negative horizon": (["data.horizon=-1"], ["data.horizon=-1", "at least 1"]),
    "a stride of zero": (["data.stride=0"], ["data.stride=0", "at least 1"]),
    "negative workers": (["data.num_workers=-1"], ["data.num_workers=-1", "0 or more"]),
    "too few steps generated": (["data.n_steps=0"], ["data.n_steps=0", "at least 1"]),
    "too few channels": (["data.n_channels=2"], ["data.n_channels=2", "4 or more"]),
    "dropout of all": (["model.dropout=1.0"], ["model.dropout=1", "model.dropout < 1"]),
    "a rate of zero": (["optimizer.lr=0"], ["optimizer.lr=0", "above 0"]),
    "a negative seed": (["seed=-1"], ["seed=-1", "from 0 to"]),
    "no rate": (["optimizer.lr=null"], ["optimizer.lr=null", "above 0"]),
    "a row every zero steps": (
        ["trainer.log_every_n_steps=0"],
        ["trainer.log_every_n_steps=0", "at least 1"],
    ),
    "no rows": (
        ["trainer.log_every_n_steps=null"],
        ["trainer.log_every_n_steps=null", "whole number"],
    ),
    "no batch to accumulate": (
        ["trainer.accumulate_grad_batches=0"],
        ["trainer.accumulate_grad_batches=0", "at least 1"],
    ),
    "fewer than no batch to accumulate": (
        ["trainer.accumulate_grad_batches=-1"],
        ["trainer.accumulate_grad_batches=-1", "at least 1"],
    ),
    "a validation every zero epochs": (
        ["trainer.check_val_every_n_epoch=0"],
        ["trainer.check_val_every_n_epoch=0", "at least 1"],
    ),
    "a validation every zero batches": (
        ["trainer.val_check_interval=0"],
        ["trainer.val_check_interval=0", "above 0"],
    ),
    "no season": (["data.season_length=0"], ["data.season_length=0", "at least 1"]),
    # The grid.
    "more chunks than steps": (
        ["schedule.n_chunks=9"],
        ["schedule.n_chunks=9", "data.input_length=8", "schedule.n_chunks <= 8"],
    ),
    "more micro-batches than windows": (
        ["schedule.n_micro_batches=65"],
        ["schedule.n_micro_batches=65", "data.batch_size=64", "schedule.n_micro_batches <= 64"],
    ),
    "no chunk between two cuts": (
        ["schedule.truncate=0"],
        ["schedule.truncate=0", "at least 1"],
    ),
    "a cut after the whole window": (
        ["schedule.truncate=4"],
        ["schedule.truncate=4", "schedule.n_chunks=4", "smaller"],
    ),
    "a recomputation that there is not": (
        ["schedule.recompute=all"],
        ["schedule.recompute=all", "none, cell"],
    ),
    "truncation across a barrier": (
        ["schedule.truncate=2", "model.bidirectional=true"],
        ["schedule.truncate=2", "bidirectional", "leave schedule.truncate out"],
    ),
    # The blocks.
    "neither yes nor no": (["model.bidirectional=maybe"], ["model.bidirectional=maybe", "true"]),
    "directions for fewer blocks": (
        ["model.bidirectional=[true,false]"],
        ["model.bidirectional=[True,False]", "2 entries", "4 blocks"],
    ),
    "an unknown core": (["model.core=leen"], ["model.core=leen", "auto, native, fused, lean"]),
    "weights' gradients that cannot wait": (
        ["schedule=zero_bubble", "model.core=native"],
        ["schedule=zero_bubble", "model.core=native cannot", "use model.core=fused or"],
    ),
    "an unknown policy": (["model.h_0=ones"], ["model.h_0=ones", "zeros, given, learned"]),
    "policies for fewer blocks": (["model.h_0=[zeros,learned]"], ["2 entries", "4 blocks"]),
    "states that no file brings": (["model.h_0=given"], ["model.h_0=given", "from Python"]),
    "states carried across shuffled windows": (
        ["model.h_0=carry"],
        ["model.h_0=carry", "data.order=shuffled", "data.order=streams"],
    ),
    "no block before the first": (["model.h_0=previous"], ["model.h_0=previous", "block 0"]),
    "another number of states than the block before": (
        ["model.h_0=[zeros,previous]", "model.num_layers=3", "model.layers_per_block=2"],
        ["model.h_0=previous: block 1 has 1 states", "block before it 2"],
    ),
    # The device map.
    "two devices for one direction": (
        ["placement.device_map=[cpu:0+cpu:1,cpu:2,cpu:2,cpu:2]"],
        ["placement.device_map", "block 0", "cpu:0+cpu:1", "model.bidirectional"],
    ),
    "neither with graphs nor without": (["engine.graphs=maybe"], ["engine.graphs=maybe", "auto"]),
    "graphs of a stage on two devices": (
        [
            "engine.graphs=true",
            "model.bidirectional=true",
            "placement.device_map=[cpu:0+cpu:1,cpu:0+cpu:1,cpu:2+cpu:3,cpu:2+cpu:3]",
        ],
        ["engine.graphs=true", "cpu:0+cpu:1", "engine.graphs=auto"],
    ),
    "a device that does not exist": (
        ["placement.device_map=[cuda:7,cuda:7,cpu:0,cpu:0]"],
        ["placement.device_map=", "cuda:7", "cpu:0"],
    ),
    "an index that no device has": (["placement.device_map=[0,0,0,99]"], ["device_map=", "99"]),
    "a device map beside a plan": (
        ["placement.path=plan.json", "placement.device_map=[0,0,1,1]"],
        ["placement.device_map=[0,0,1,1]", "placement.path=plan.json", "leave one of them out"],
    ),
    "stages of a map beside a plan": (
        ["placement.path=plan.json", "placement.merge=false"],
        ["placement.merge=false", "placement.path=plan.json", "leave it out"],
    ),
    "a map that is too short": (
        ["placement.device_map=[0,0,0]"],
        ["placement.device_map=", "3 entries", "4 blocks", "one entry per block"],
    ),
    "a map that is too long": (["placement.device_map=[0,0,0,1,1]"], ["5 entries", "4 blocks"]),
    "a map with a gap": (
        ["placement.device_map={0-1: cpu:0, 3: cpu:1}"],
        ["placement.device_map=", "block 2"],
    ),
    "a map with an overlap": (
        ["placement.device_map={0-2: cpu:0, 2-3: cpu:1}"],
        ["placement.device_map=", "block 2"],
    ),
    "a device that returns": (
        ["placement.device_map=[cpu:0,cpu:0,cpu:1,cpu:0]"],
        ["blocks 0-1 on cpu:0, block 2 on cpu:1, block 3 on cpu:0 again"],
    ),
    "an empty list": (["placement.device_map=[]"], ["placement.device_map=[]"]),
    "an empty mapping": (["placement.device_map={}"], ["placement.device_map={}"]),
    "a map without brackets": (
        ["placement.device_map=cpu:0,cpu:1"],
        ["placement.device_map=cpu:0,cpu:1", "[cpu:0,cpu:1]", "brackets"],
    ),
    "a single device without brackets": (
        ["placement.device_map=cpu:0"],
        ["placement.device_map=cpu:0", "brackets"],
    ),
    "a number for a map": (["placement.device_map=2"], ["placement.device_map=2", "brackets"]),
    # What belongs to the Trainer and to torch.
    "a value that the Trainer refuses": (
        ["trainer.precision=12-bit"],
        ["trainer", "12-bit"],
    ),
    "a wrong way to clip": (
        ["trainer.gradient_clip_algorithm=cube"],
        ["trainer", "cube"],
    ),
    "an argument that the optimiser does not know": (
        ["+optimizer.speed=3"],
        ["optimizer", "speed"],
    ),
    "an argument that the optimiser refuses": (["optimizer.weight_decay=-1"], ["optimizer", "-1"]),
    "an empty argument of the optimiser": (
        ["optimizer.weight_decay=null"],
        ["optimizer.weight_decay=null", "a number"],
    ),
    "a callback that does not exist": (
        ["+callbacks.mine={_target_: nope.Nope}"],
        ["callbacks.mine._target_=nope.Nope", "package.module.Class"],
    ),
    "a logger that does not exist": (
        ["+logger.mine={_target_: nope.Nope}"],
        ["logger.mine._target_=nope.Nope", "package.module.Class"],
    ),
    "a callback without a class": (["+callbacks.mine=3"], ["callbacks.mine=3", "_target_"]),
    "an argument that a callback does not know": (
        ["callbacks=early_stopping", "+callbacks.early_stopping.patince=3"],
        ["callbacks.early_stopping", "patince", "callbacks.early_stopping.patience?"],
    ),
    "a callback that is none": (
        ["+callbacks.mine={_target_: datetime.date, year: 1, month: 1, day: 1}"],
        ["callbacks.mine (datetime.date)", "Callback"],
    ),
    "an argument that the schedule of the rate does not know": (
        ["lr_scheduler=cosine", "+lr_scheduler.speed=3"],
        ["lr_scheduler", "speed"],
    ),
    "an optimiser that does not exist": (
        ["optimizer._target_=torch.optim.Nadam2"],
        ["optimizer", "torch.optim.Nadam2"],
    ),
    "a schedule of the rate that needs an end": (
        ["lr_scheduler=cosine", "trainer.max_epochs=-1"],
        ["trainer.max_epochs=-1", "trainer.max_steps"],
    ),
    # The data.
    "a force that is no number": (["data.forcing=nan"], ["data.forcing=nan", "finite number"]),
    "a step in which everything blows up": (["data.dt=5"], ["data.dt=5", "smaller data.dt"]),
    "no time between rows": (["data.dt=0"], ["data.dt=0", "above 0"]),
    "a negative seed of the data": (["data.seed=-1"], ["data.seed=-1", "from 0 to"]),
    "a text for the seed of the data": (["data.seed=x"], ["data.seed=x", "whole number"]),
    "a way to write numbers where there is no file": (
        ["data.decimal=comma"],
        ["data.decimal", "data=csv"],
    ),
    "a series too short for one window": (
        ["data.n_steps=10"],
        ["data.input_length=8", "data.horizon=2"],
    ),
    "a horizon longer than the series": (["data.horizon=4000"], ["data.horizon=4000", "smaller"]),
    "a target that the series does not have": (["data.target=x9"], ["data.target=x9", "x0"]),
    "one of several targets": (["data.target=[x0,y1]"], ["data.target=y1", "x1"]),
    "a split of two parts": (["data.split=[0.5,0.5]"], ["data.split="]),
    "a split of more than all": (["data.split=[0.7,0.4,0.2]"], ["data.split="]),
    "a split by something else": (["data.split_by=row"], ["data.split_by=row", "time, series"]),
    "a split of one series into three": (
        ["data.split_by=series"],
        ["data.split=", "data.split_by=time"],
    ),
    "no least input": (["data.min_input_length=0"], ["data.min_input_length=0", "at least 1"]),
    "a text for the least input": (
        ["data.min_input_length=few"],
        ["data.min_input_length=few", "whole number"],
    ),
    "a least input above the whole": (
        ["data.min_input_length=9"],
        ["data.min_input_length=9", "data.input_length=8", "data.min_input_length <= 8"],
    ),
    "an unknown order": (["data.order=sorted"], ["data.order=sorted", "shuffled, streams"]),
    "a stride that breaks the streams": (
        ["data.order=streams", "data.centre=none", "data.stride=3"],
        ["data.stride=3", "data.input_length=8", "data.stride=8"],
    ),
    "streams of windows at different levels": (
        ["data.order=streams"],
        ["data.centre=last", "data.order=streams", "data.centre=none"],
    ),
    "a series column where there is no file": (
        ["data.series_column=id"],
        ["data.series_column", "data=csv"],
    ),
    "an unknown centre": (["data.centre=mean"], ["data.centre=mean", "last", "none"]),
    # Checkpoints.
    "a checkpoint that does not exist": (["ckpt_path=no.ckpt"], ["ckpt_path=no.ckpt", ".ckpt"]),
    "a folder for a checkpoint": (["ckpt_path=."], ["ckpt_path=.", ".ckpt"]),
}
