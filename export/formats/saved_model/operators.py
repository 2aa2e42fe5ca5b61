"""Which operators of a SavedModel only compute. A SavedModel is a program: others read files, write them, run Python.

What is looked at is what a server would run: everything that a signature, the initialization or the restoring of the
variables reaches, the bodies of functions included.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensorflow.core.framework.graph_pb2 import GraphDef, NodeDef
    from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

_FILE = "saved_model.pb"
# TensorFlow's loaders prefer or accept these, so that they would run a graph that nobody looked at.
_OTHER_FILES = ("saved_model.cpb", "saved_model.pbtxt")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_COMPUTE = _words(
    """
    Abs Acos Acosh Add AddN AddV2 AdjustContrastv2 AdjustHue AdjustSaturation All Angle Any ApproximateEqual
    ArgMax ArgMin Asin Asinh Atan Atan2 Atanh AvgPool AvgPool3D BatchMatMul BatchMatMulV2 BatchMatMulV3
    BatchToSpaceND BesselI0 BesselI0e BesselI1 BesselI1e Betainc BiasAdd Bincount Bitcast BitwiseAnd BitwiseOr
    BitwiseXor BroadcastArgs BroadcastTo Bucketize Cast Ceil Cholesky ClipByValue CombinedNonMaxSuppression
    Complex ComplexAbs Concat ConcatOffset ConcatV2 Conj ConjugateTranspose Const Conv Conv2D Conv2DBackpropFilter
    Conv2DBackpropInput Conv3D Conv3DBackpropInputV2 Cos Cosh CropAndResize Cross Cumprod Cumsum
    CumulativeLogsumexp DataFormatDimMap DataFormatVecPermute DenseBincount DepthToSpace DepthwiseConv2dNative
    DepthwiseConv2dNativeBackpropInput Diag DiagPart Digamma Dilation2D Div DivNoNan DynamicPartition
    DynamicStitch Einsum Elu EmptyTensorList EnsureShape Equal Erf Erfc Erfinv EuclideanNorm Exp ExpandDims Expm1
    ExtractImagePatches ExtractVolumePatches FFT FFT2D FFT3D FFTND FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars
    FakeQuantWithMinMaxVarsPerChannel Fill Floor FloorDiv FloorMod FusedBatchNorm FusedBatchNormV2
    FusedBatchNormV3 Gather GatherNd GatherV2 Greater GreaterEqual HSVToRGB HistogramFixedWidth IFFT IFFT2D IFFT3D
    IFFTND IRFFT IRFFT2D IRFFT3D IRFFTND Identity IdentityN Igamma Igammac Imag ImageProjectiveTransformV2
    ImageProjectiveTransformV3 InTopKV2 Inv Invert InvertPermutation IsFinite IsInf IsNan L2Loss LRN LeakyRelu
    LeftShift Less LessEqual Lgamma LinSpace ListDiff Log Log1p LogMatrixDeterminant LogSoftmax LogicalAnd
    LogicalNot LogicalOr LowerBound Lu MatMul MatrixBandPart MatrixDeterminant MatrixDiag MatrixDiagPart
    MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixInverse MatrixSetDiag MatrixSetDiagV2
    MatrixSetDiagV3 MatrixSolve MatrixSolveLs MatrixTriangularSolve Max MaxPool MaxPool3D MaxPoolV2
    MaxPoolWithArgmax Maximum Mean Min Minimum MirrorPad Mod Mul MulNoNan Ndtri Neg NextAfter NonMaxSuppressionV3
    NonMaxSuppressionV4 NonMaxSuppressionV5 NoOp NotEqual NthElement OneHot OnesLike Pack Pad PadV2
    ParallelDynamicStitch Polygamma PopulationCount Pow PreventGradient Prod Qr RFFT RFFT2D RFFT3D RFFTND RGBToHSV
    Range Rank Real RealDiv Reciprocal Relu Relu6 Reshape ResizeArea ResizeBicubic ResizeBilinear
    ResizeNearestNeighbor Reverse ReverseSequence ReverseV2 RightShift Rint Roll Round Rsqrt ScaleAndTranslate
    ScatterNd SegmentMax SegmentMaxV2 SegmentMean SegmentMin SegmentProd SegmentSum SegmentSumV2 Select SelectV2
    SelfAdjointEigV2 Selu Shape ShapeN Sigmoid Sign Sin Sinh Size Slice Snapshot Softmax
    SoftmaxCrossEntropyWithLogits Softplus Softsign SpaceToBatchND SpaceToDepth
    SparseSoftmaxCrossEntropyWithLogits Split SplitV Sqrt Square SquaredDifference Squeeze StopGradient
    StridedSlice Sub Sum Svd Tan Tanh TensorListConcatV2 TensorListElementShape TensorListFromTensor
    TensorListGather TensorListGetItem TensorListLength TensorListPushBack TensorListPopBack TensorListReserve
    TensorListResize TensorListSetItem TensorListSplit TensorListStack TensorScatterAdd TensorScatterMax
    TensorScatterMin TensorScatterSub TensorScatterUpdate TensorStridedSliceUpdate Tile TopK TopKV2 Transpose
    TruncateDiv TruncateMod Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2 Unpack UnravelIndex
    UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum UpperBound Where Xdivy Xlog1py
    Xlogy ZerosLike Zeta
    """
)
_RANDOM = _words(
    """
    Multinomial ParameterizedTruncatedNormal RandomGamma RandomPoissonV2 RandomShuffle RandomStandardNormal
    RandomUniform RandomUniformInt StatelessMultinomial StatelessParameterizedTruncatedNormal
    StatelessRandomBinomial StatelessRandomGammaV2 StatelessRandomGammaV3 StatelessRandomGetAlg
    StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal StatelessRandomNormalV2
    StatelessRandomPoisson StatelessRandomUniform StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2
    StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessRandomUniformV2 StatelessShuffle
    StatelessTruncatedNormal StatelessTruncatedNormalV2 TruncatedNormal
    """
)
_FLOW = _words(
    """
    Assert Case Enter Exit If LoopCond Merge NextIteration PartitionedCall Placeholder PlaceholderV2
    PlaceholderWithDefault StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile Switch While _Arg
    _Retval
    """
)
_VARIABLES = _words(
    """
    AssignAddVariableOp AssignSubVariableOp AssignVariableOp ReadVariableOp ResourceGather ResourceGatherNd
    VarHandleOp VarIsInitializedOp VariableShape
    """
)
# Pictures in files that a client sends: they are strings in memory.
_PICTURES = _words("DecodeJpeg DecodePng EncodeJpeg EncodePng ExtractJpegShape Substr")  # the last tells a JPEG
ALLOWED = _COMPUTE | _RANDOM | _FLOW | _VARIABLES | _PICTURES
# Only where the server itself says from which file: its variables.
_RESTORE = frozenset(("RestoreV2",))


def foreign_operators(folder: Path) -> list[str]:
    """Return what a SavedModel would run that isn't known to only compute; a server should refuse to load it then.

    Raises:
        OSError: there is no SavedModel.
        google.protobuf.message.DecodeError: it is damaged.
    """
    return look_at(folder, read_graph(folder))[1]


def read_graph(folder: Path) -> "SavedModel":
    """Return the message in `saved_model.pb`."""
    from tensorflow.core.protobuf import saved_model_pb2

    return saved_model_pb2.SavedModel.FromString((folder / _FILE).read_bytes())


def look_at(folder: Path, saved: "SavedModel") -> tuple[dict[str, int], list[str]]:
    """Return how often a SavedModel has each operator that a server would run, and which of them are foreign."""
    count: Counter[str] = Counter()
    foreign = {name for name in _OTHER_FILES if (folder / name).exists()}
    for meta in saved.meta_graphs:
        functions = {function.signature.name for function in meta.graph_def.library.function}
        run = Counter(node.op for node in _reached(meta, _roots(meta)) if node.op not in functions)
        restored = {node.op for node in _reached(meta, [meta.saver_def.restore_op_name])} - functions
        count += run
        foreign |= (set(run) - ALLOWED) | (restored - ALLOWED - _RESTORE)
    return dict(sorted(count.items())), sorted(foreign)


def _roots(meta: "MetaGraphDef") -> list[str]:
    """Return the tensors and operations that a server asks a session for."""
    names = [info.name for d in meta.signature_def.values() for info in d.outputs.values()]
    for key in ("saved_model_main_op", "legacy_init_op"):
        names += meta.collection_def[key].node_list.value if key in meta.collection_def else []
    return names


def _reached(meta: "MetaGraphDef", names: "Iterable[str]") -> "Iterator[NodeDef]":
    """Yield each node that is run when a session is asked for these tensors, those in functions included."""
    graph: GraphDef = meta.graph_def
    nodes = {node.name: node for node in graph.node}
    functions = {function.signature.name: function for function in graph.library.function}
    wanted, called = [_node(name) for name in names], []
    seen: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name in seen or name not in nodes:
            continue
        seen.add(name)
        wanted += map(_node, nodes[name].input)
        called += _called(nodes[name])
        yield nodes[name]
    entered: set[str] = set()
    while called:
        name = called.pop()
        if name in entered or name not in functions:
            continue
        entered.add(name)
        for node in functions[name].node_def:
            called += _called(node)
            yield node


def _node(tensor: str) -> str:
    return tensor.lstrip("^").split(":")[0]


def _called(node: "NodeDef") -> list[str]:
    """Return the functions that a node names; a node may also be a call of a function by its own name."""
    named = [value.func.name for value in node.attr.values() if value.HasField("func")]
    listed = [f.name for value in node.attr.values() for f in value.list.func]
    return [node.op, *named, *listed]
