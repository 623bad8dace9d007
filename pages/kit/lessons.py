"""The sections of the Better Transformer tutorial as data: the idea, its code, today's code, and the trap in it.

The tutorial is Michael Gschwind's "Fast Transformer Inference with Better Transformer" (pytorch.org, BSD-3-Clause);
its code is quoted beside ours.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Lesson:
    """One section.

    Attributes:
        idea: what the section is about.
        tutorial, today: the tutorial's code, and code that does today what the section means.
        trap: what is wrong in the tutorial's code; empty where nothing is.
    """

    number: str
    title: str
    idea: str
    tutorial: str
    today: str
    trap: str = ""


LOAD = Lesson(
    number="1.1",
    title="Load a pretrained model",
    idea="The model was trained and saved before the fastpath existed, and it does not change. The fastpath is another "
    "way to execute the same layers; torch decides at every call whether to take it. torchtext was built for torch "
    "2.3, so today one import comes before it.",
    tutorial="""import torch, torchtext

xlmr_large = torchtext.models.XLMR_LARGE_ENCODER
head = torchtext.models.RobertaClassificationHead(
    num_classes=2, input_dim=1024)
model = xlmr_large.get_model(head=head)
transform = xlmr_large.transform()""",
    today="""import engine.models.torchtext.on_any_torch
import torch, torchtext

xlmr_large = torchtext.models.XLMR_LARGE_ENCODER
head = torchtext.models.RobertaClassificationHead(
    num_classes=2, input_dim=1024)
model = xlmr_large.get_model(
    head=head, dl_kwargs={"weights_only": True}).eval()
transform = xlmr_large.transform()""",
    trap="get_model() returns the model in train mode, and the tutorial calls eval() only after its first "
    "measurement. Call eval() at once.",
)
DATASET = Lesson(
    number="1.2",
    title="Two batches",
    idea="A small batch of two short texts, and a big batch of the same two and a long one. All texts of a batch are "
    "padded to the length of the longest, so most of the big batch is padding.",
    tutorial="""input_batch = big_input_batch
model_input = to_tensor(
    transform(input_batch), padding_value=1)
output = model(model_input)

ITERATIONS = 10""",
    today="""model_input = to_tensor(
    transform(big_input_batch), padding_value=1)
padding_ratio = (model_input == 1).float().mean()
with torch.inference_mode():
    output = model(model_input)""",
)
NATIVE_MHA = Lesson(
    number="2.1",
    title="Slow path and fastpath on the CPU",
    idea="In eval mode and without gradients, each encoder layer runs as one fused operator. The tutorial compares "
    "that with a slow path, but not with a fair one.",
    tutorial="""with torch.autograd.profiler.profile(
        use_cuda=False) as prof:
    for i in range(ITERATIONS):
        output = model(model_input)
print(prof)

model.eval()
with torch.autograd.profiler.profile(
        use_cuda=False) as prof:
    with torch.no_grad():
        for i in range(ITERATIONS):
            output = model(model_input)
print(prof)""",
    today="""model.eval()
torch.backends.mha.set_fastpath_enabled(False)  # slow path
with torch.no_grad(), torch.profiler.profile() as slow:
    for _ in range(ITERATIONS):
        model(model_input)

torch.backends.mha.set_fastpath_enabled(True)   # fastpath
with torch.no_grad(), torch.profiler.profile() as fast:
    for _ in range(ITERATIONS):
        model(model_input)

print(fast.key_averages().table(sort_by="self_cpu_time_total"))""",
    trap="The first slow run is in train mode: it records gradients and applies dropout, which the fast run does not. "
    "And print(prof) lists the first 100 events in order of time; key_averages() sums them by operator.",
)
DEVICE = Lesson(
    number="2.2",
    title="Native MHA without sparsity",
    idea="To see what the fused layers gain without sparsity, sparsity must be off. The tutorial's switch for that "
    "does nothing.",
    tutorial="""model.encoder.transformer.layers.enable_nested_tensor = False

with torch.autograd.profiler.profile(use_cuda=True) as prof:
    with torch.no_grad():
        for i in range(ITERATIONS):
            output = model(model_input)""",
    today="""layers = model.encoder.transformer.layers
layers.use_nested_tensor = False  # forward() reads this

with torch.no_grad(), torch.profiler.profile() as prof:
    for _ in range(ITERATIONS):
        model(model_input)
assert not any("nested" in op.key for op in prof.key_averages())""",
    trap="enable_nested_tensor is read once, when the encoder is built; forward() reads use_nested_tensor. Setting "
    "the first afterwards is a no-op, so the tutorial's 'MHA only' run still skips padding.",
)
SPARSITY = Lesson(
    number="2.3",
    title="Native MHA with sparsity",
    idea="A nested tensor holds the real tokens only, so padding costs nothing. The gain depends on how much padding "
    "there is: much for the big batch, nothing if all texts have the same length.",
    tutorial="""model.encoder.transformer.layers.enable_nested_tensor = True

with torch.autograd.profiler.profile(use_cuda=True) as prof:
    with torch.no_grad():
        for i in range(ITERATIONS):
            output = model(model_input)""",
    today="""layers = model.encoder.transformer.layers
layers.use_nested_tensor = True  # forward() reads this

with torch.no_grad(), torch.profiler.profile() as prof:
    for _ in range(ITERATIONS):
        model(model_input)
print(prof.key_averages().table(sort_by="self_cpu_time_total"))""",
)
