"""The text that links of version 1 are compressed with: what most runs say, so that a link need not say it again.

It belongs to version 1 for ever: with any other text, links of this version cannot be read. It is no list of what a
link may say. The likeliest words come last, because the compressor refers to near text with fewer bits.
"""

_SENTENCES = (
    "the budget of 60 s is used up after ",
    "the limit of 200 rounds",
    "the 10 rounds asked for",
    "precise to 3% after precise to 1.2% after 34 rounds",
    "rounds are too few for an interval",
    "the interval 0.98x to 1.02x overlaps the noise floor (",
    "x overlaps the margin of 2%, which counts as no difference (0.98x to 1.02x)",
    "Measure 10 more rounds, about 12 s.",
    "Measure again when the machine is quiet: ",
    "More than 200 rounds would be needed, or the difference is inside the noise: in practice, take the two as equal.",
    "a CPU quota limits the process to ",
    " cores, so it may be paused while it measures",
    "the hypervisor took 12% of the CPU for another guest",
    "a short test calculation took more than 1.5 times its usual time in ",
    "other processes used 12% of the CPU",
    " is not installed: pip install ",
    "compiled for batches of two texts or more; a single text is compiled in its first call",
    "freed memory kept (glibc)",
    "glibc's defaults",
)
_CLAIMS = (
    "no claim",
    "no fused layer, dropout is drawn",
    "the library runs the encoder, torch only the classification head",
    "one compiled graph, none of its layers called by Python",
    "6 attentions by SDPA, 6 linear layers around each",
    "real tokens only: 24 linear layers or more on laid-out weights",
    "real tokens only: compiled kernels in 12 layers, linear layers on laid-out weights",
    "no fused layer, 6 attentions by SDPA for each group",
    "no fused layer, no nested tensor, 12 attentions by SDPA",
    "12 fused layers, no nested tensor",
    "6 fused layers, 1 conversion to a nested tensor",
)
_OPERATORS = (
    *("aten::bernoulli_", "aten::dropout", "aten::native_dropout", "aten::empty", "aten::fill_", "aten::sum"),
    *("aten::embedding", "aten::index_select", "aten::cat", "aten::masked_select", "aten::to_padded_tensor"),
    *("aten::_nested_from_padded", "aten::_nested_tensor_softmax_with_shape", "aten::relu", "aten::tanh"),
    *("mkl::_mkl_linear", "mkldnn::_linear_pointwise", "onednn::qlinear_pointwise", "aten::mkldnn_linear"),
    *("TorchDynamo Cache Lookup", "Torch-Compiled Region: 0/0", "aten::_safe_softmax", "aten::baddbmm"),
    *("packed::encoder", "packed::attention", "packed::add_and_norm", "aten::linear", "aten::matmul"),
    *("aten::gelu_", "aten::gelu", "aten::native_layer_norm", "aten::layer_norm", "aten::add_", "aten::add"),
    *("aten::_native_multi_head_attention", "aten::_transform_bias_rescale_qkv", "aten::_softmax"),
    *(
        "aten::_masked_softmax",
        "aten::_scaled_dot_product_flash_attention_for_cpu",
        "aten::copy_",
        "aten::bmm",
    ),
    *("aten::_addmm_activation", "aten::mm", "aten::addmm", "aten::scaled_dot_product_attention"),
    *("aten::_transformer_encoder_layer_fwd", "aten::_nested_tensor_from_mask"),
)
_GROUPS = (
    *("linear", "attention", "softmax and mask", "norm and activation", "dropout", "nested conversion"),
    *("whole encoder", "other"),
)
_PATHS = (
    *("slow-train", "slow-grad", "tutorial-mha", "openvino@bf16", "onnxruntime@int8", "hf-sdpa@bf16"),
    *("compile@bf16", "bucketed@bf16", "fast-nested@bf16", "slow@bf16", "packed@bf16", "openvino"),
    *("onnxruntime", "hf-sdpa", "compile", "bucketed", "packed", "fast-nested", "fast-mha", "slow"),
)
_PLACES = (
    "NVIDIA H100 80GB HBM3, NVIDIA A100-SXM4-40GB, Apple M3 Pro, 13th Gen Intel(R) Core(TM) i7-",
    "AMD EPYC 9B14, AMD Ryzen 9 7950X 16-Core Processor, Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
    "Windows-11, macOS-15.5-arm64, Linux-6.8.0-x86_64-with-glibc2.36, Linux-x86_64",
    '"cuda:0","fp16","bf16","int8","XLM-R base","XLM-R large","owner/name","own texts","texts"',
    '"xlmr.base","xlmr.large","roberta.base","tutorial-small","dense","mixed","skewed-64","tutorial-big"',
)
_FORM = (
    '","machine":{"torch":"2.13.0+cpu","torchtext":"0.18.0","bridge":"bridged","python":"3.11.7","platform":"Linux',
    '"cpu_capability":"AVX512","cores":2,"threads":2,"memory_mb":25300,"device_name":"AMD EPYC","cuda":"',
    '"libraries":{"MKL":"2024.2","oneDNN":"3.12.0","numpy":"2.4.6"},"allocator_in_force":"',
    '"load_before":0.5,"load_after":0.8,"quiet":false,"notes":["quiet":true},"rounds":34,"stopped":"precise to ',
    '% after 24 rounds","looks":2,"choice":{"exact":"packed","as_fast":["approximate":"packed@bf16","gain":1.5},',
    '"floor":[0.99,1.01],"share":0.01,"paths":{"name":["slow","fast-mha","fast-nested","packed"],"dtype":"fp32",',
    '"dtype":["fp32","fp32","fp32","fp32","bf16","bf16"],"status":["ok","ok","ok","failed","unavailable",',
    '"status":"ok","reason":["","","prepare":[0,0,0,"note":["","","","weights":[0,0,0,"first":[',
    '"calls":[null,null,null,"median":[,"speedup":[1,1.2,"low":[null,0.9"high":[null,1.1,',
    '"verdict":[null,"slower","same","not sure","faster","faster","faster","faster"],"why":["","","next":["","",',
    '"error":[0,1.5e-06,3.01e-06,"limit":6.01e-05,"limit":[6.01e-05,6.01e-05,0.2],"agrees":true,"memory":[',
    '"faults":[0,0,0,"claim":["no fused layer, no nested tensor, 6 attentions by SDPA","6 fused layers, no nested',
    ' tensor","proven":true,"forwards":10,"overhead":[1.01,1.02,1.05]},"counts":[["aten::',
    '"],[0,0,6],[6,0],[6,1],[0,0,0,0,6],[0,0]],"groups":[["softmax and mask","other","norm and activation",',
    '"dropout","linear","attention","nested conversion"],[0.0192,1.98,2.68,0.0111,73.3,13.6],',
    '"operators":[["aten::addmm","aten::mm","all other operators"],[0,24,0.5,0.5,1,6,2.1,2.1,',
    '{"id":"0123456789ab","at":1795,"title":"all-MiniLM-L6-v2, tutorial-big, cpu fp32","asked":{"model":"minilm",',
    '"device":"cpu","dtype":"fp32","threads":2,"baseline":"slow","iterations":10,"allocator":"kept"},',
    '"allocator":"system"},"batch":["tutorial-big",3,4,190,200,0],"model":["all-MiniLM-L6-v2","53aa51172d14",true,',
    "6,22713602],",
)


def _listed(words: tuple[str, ...]) -> str:
    return ",".join(f'"{word}"' for word in words)


DICTIONARY = "".join(
    (
        *_SENTENCES,
        *_PLACES,
        *(_listed(words) for words in (_CLAIMS, _OPERATORS, _GROUPS, _PATHS)),
        *_FORM,
    )
).encode()
