"""Where the functions of `danlu` and the methods of Tensor are: module -> names.

Written by tools/published_names.py."""

from __future__ import annotations

# fmt: off
FUNCTIONS = {
    "amp": (
        "autocast get_autocast_dtype is_autocast_available is_autocast_enabled"
    ),
    "compiler": (
        "compile"
    ),
    "func": (
        "vmap"
    ),
    "linalg._older": (
        "cdist cholesky cholesky_inverse cholesky_solve cross det dist frobenius_norm geqrf "
        "inverse logdet lu lu_solve lu_unpack matrix_exp matrix_power matrix_rank norm "
        "norm_except_dim nuclear_norm orgqr ormqr pca_lowrank pinverse qr slogdet svd svd_lowrank "
        "triangular_solve vander"
    ),
    "ops.activation": (
        "hardshrink prelu relu"
    ),
    "ops.binary": (
        "add arctan2 atan2 copysign div divide float_power floor_divide fmax fmin fmod heaviside "
        "hypot ldexp logaddexp logaddexp2 maximum minimum mul multiply nextafter pow remainder "
        "rsub sub subtract true_divide xlogy"
    ),
    "ops.calculus": (
        "cumulative_trapezoid gradient trapezoid trapz"
    ),
    "ops.comparison": (
        "bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor eq gcd ge "
        "greater greater_equal gt lcm le less less_equal logical_and logical_or logical_xor lt ne "
        "not_equal"
    ),
    "ops.conversion": (
        "clone detach fill"
    ),
    "ops.creation": (
        "arange complex empty empty_like empty_permuted empty_strided eye full full_like linspace "
        "logspace ones ones_like polar range tril_indices triu_indices zeros zeros_like"
    ),
    "ops.extremes": (
        "amax amin aminmax argmax argmin max median min mode nanmedian"
    ),
    "ops.from_values": (
        "as_tensor asarray from_dlpack from_numpy frombuffer scalar_tensor tensor to_dlpack"
    ),
    "ops.index_along": (
        "diagonal_scatter index_add index_copy index_fill index_put index_reduce index_select put "
        "select_scatter slice_scatter take unravel_index"
    ),
    "ops.joining": (
        "block_diag cartesian_prod cat chunk column_stack combinations concat concatenate dsplit "
        "dstack hsplit hstack meshgrid row_stack split split_with_sizes stack tensor_split unbind "
        "unsafe_chunk unsafe_split unsafe_split_with_sizes vsplit vstack"
    ),
    "ops.legacy": (
        "BFloat16Tensor BoolTensor ByteTensor CharTensor DoubleTensor FloatTensor HalfTensor "
        "IntTensor LongTensor ShortTensor"
    ),
    "ops.masking": (
        "argwhere masked_fill masked_scatter masked_select nonzero nonzero_static where"
    ),
    "ops.matmul": (
        "addbmm addmm addmv addr baddbmm bmm chain_matmul dot einsum ger inner kron matmul mm mv "
        "outer tensordot vdot"
    ),
    "ops.parts": (
        "diag_embed diagonal flip fliplr flipud narrow roll rot90 select"
    ),
    "ops.pointwise": (
        "abs absolute acos acosh angle arccos arccosh arcsin arcsinh arctan arctanh asin asinh "
        "atan atanh bitwise_not ceil conj conj_physical cos cosh deg2rad exp exp2 expm1 fix floor "
        "frac frexp imag isfinite isinf isnan isneginf isposinf isreal log log10 log1p log2 "
        "logical_not logit nan_to_num neg negative positive rad2deg real reciprocal resolve_conj "
        "resolve_neg round rsqrt sgn sigmoid sign signbit sin sinc sinh sqrt square tan tanh "
        "trunc"
    ),
    "ops.predicates": (
        "allclose are_deterministic_algorithms_enabled equal get_device get_printoptions "
        "is_complex is_conj is_floating_point is_inference is_neg is_nonzero is_same_size "
        "is_signed is_storage is_tensor isclose result_type set_printoptions "
        "use_deterministic_algorithms"
    ),
    "ops.random": (
        "normal rand rand_like randint randint_like randn randn_like randperm"
    ),
    "ops.random_operators": (
        "bernoulli multinomial poisson"
    ),
    "ops.random_state": (
        "Generator default_generator get_rng_state initial_seed manual_seed seed set_rng_state"
    ),
    "ops.reduction": (
        "all any count_nonzero logsumexp mean nanmean nansum prod std std_mean sum var var_mean"
    ),
    "ops.scans": (
        "cummax cummin cumprod cumsum logcumsumexp"
    ),
    "ops.scatter": (
        "gather scatter scatter_add scatter_reduce take_along_dim"
    ),
    "ops.selection": (
        "clamp clamp_max clamp_min clip corrcoef cov diag diagflat diff renorm trace tril triu"
    ),
    "ops.settings": (
        "get_deterministic_debug_mode get_float32_matmul_precision "
        "is_deterministic_algorithms_warn_only_enabled is_warn_always_enabled "
        "set_default_tensor_type set_deterministic_debug_mode set_float32_matmul_precision "
        "set_flush_denormal set_warn_always"
    ),
    "ops.shape": (
        "adjoint atleast_1d atleast_2d atleast_3d broadcast_shapes broadcast_tensors broadcast_to "
        "expand_copy flatten moveaxis movedim numel permute ravel repeat_interleave reshape "
        "squeeze swapaxes swapdims t tile transpose unflatten unsqueeze"
    ),
    "ops.signal": (
        "bartlett_window blackman_window hamming_window hann_window istft kaiser_window stft"
    ),
    "ops.softmax": (
        "log_softmax softmax"
    ),
    "ops.sorting": (
        "argsort bincount bucketize histc histogram histogramdd isin kthvalue msort nanquantile "
        "quantile searchsorted sort topk unique unique_consecutive"
    ),
    "ops.special": (
        "digamma erf erfc erfinv gammaln i0 igamma igammac lgamma mvlgamma polygamma"
    ),
    "ops.strided": (
        "as_strided as_strided_scatter view_as_complex view_as_real"
    ),
    "ops.ternary": (
        "addcdiv addcmul lerp"
    ),
    "serialization": (
        "load save"
    ),
}
METHODS = {
    "autograd.engine": (
        "backward"
    ),
    "linalg._factors": (
        "cholesky geqrf"
    ),
    "linalg._inverse": (
        "det inverse logdet slogdet"
    ),
    "linalg._lu": (
        "lu"
    ),
    "linalg._older": (
        "cholesky_inverse cholesky_solve cross dist lu_solve norm orgqr ormqr pinverse qr svd "
        "triangular_solve"
    ),
    "linalg._products": (
        "matrix_exp matrix_power"
    ),
    "ops.activation": (
        "hardshrink prelu relu relu_"
    ),
    "ops.binary": (
        "__add__ __floordiv__ __iadd__ __ifloordiv__ __imod__ __imul__ __ipow__ __isub__ "
        "__itruediv__ __mod__ __mul__ __pow__ __radd__ __rdiv__ __rfloordiv__ __rmod__ __rmul__ "
        "__rpow__ __rsub__ __rtruediv__ __sub__ __truediv__ add add_ arctan2 arctan2_ atan2 "
        "atan2_ copysign copysign_ div div_ divide divide_ float_power float_power_ floor_divide "
        "floor_divide_ fmax fmin fmod fmod_ heaviside heaviside_ hypot hypot_ ldexp ldexp_ "
        "logaddexp logaddexp2 maximum minimum mul mul_ multiply multiply_ nextafter nextafter_ "
        "pow pow_ remainder remainder_ rsub sub sub_ subtract subtract_ true_divide true_divide_ "
        "xlogy xlogy_"
    ),
    "ops.comparison": (
        "__and__ __eq__ __ge__ __gt__ __iand__ __ilshift__ __ior__ __irshift__ __ixor__ __le__ "
        "__lshift__ __lt__ __ne__ __or__ __rand__ __rlshift__ __ror__ __rrshift__ __rshift__ "
        "__rxor__ __xor__ bitwise_and bitwise_and_ bitwise_left_shift bitwise_left_shift_ "
        "bitwise_or bitwise_or_ bitwise_right_shift bitwise_right_shift_ bitwise_xor bitwise_xor_ "
        "eq eq_ gcd gcd_ ge ge_ greater greater_ greater_equal greater_equal_ gt gt_ lcm lcm_ le "
        "le_ less less_ less_equal less_equal_ logical_and logical_and_ logical_or logical_or_ "
        "logical_xor logical_xor_ lt lt_ ne ne_ not_equal not_equal_"
    ),
    "ops.conversion": (
        "apply_ astype bfloat16 bool byte cdouble cfloat chalf char clone contiguous copy_ cpu "
        "cuda double fill_ fill_diagonal_ float half int is_pinned is_shared long map2_ map_ "
        "pin_memory resize_ resize_as_ set_ share_memory_ short to type type_as zero_"
    ),
    "ops.creation": (
        "new new_empty new_empty_strided new_full new_ones new_tensor new_zeros"
    ),
    "ops.extremes": (
        "amax amin aminmax argmax argmin max median min mode nanmedian"
    ),
    "ops.index_along": (
        "diagonal_scatter index_add index_add_ index_copy index_copy_ index_fill index_fill_ "
        "index_put index_put_ index_reduce index_reduce_ index_select put put_ select_scatter "
        "slice_scatter take"
    ),
    "ops.indexing": (
        "__getitem__ __setitem__"
    ),
    "ops.joining": (
        "chunk dsplit hsplit split split_with_sizes tensor_split unbind unsafe_chunk unsafe_split "
        "unsafe_split_with_sizes vsplit"
    ),
    "ops.masking": (
        "argwhere masked_fill masked_fill_ masked_scatter masked_scatter_ masked_select nonzero "
        "nonzero_static where"
    ),
    "ops.matmul": (
        "__matmul__ __rmatmul__ addbmm addbmm_ addmm addmm_ addmv addmv_ addr addr_ baddbmm "
        "baddbmm_ bmm dot ger inner kron matmul mm mv outer vdot"
    ),
    "ops.parts": (
        "diag_embed diagonal flip fliplr flipud narrow roll rot90 select"
    ),
    "ops.pointwise": (
        "__abs__ __invert__ __invert___ __neg__ __neg___ __pos__ abs abs_ absolute absolute_ acos "
        "acos_ acosh acosh_ angle arccos arccos_ arccosh arccosh_ arcsin arcsin_ arcsinh arcsinh_ "
        "arctan arctan_ arctanh arctanh_ asin asin_ asinh asinh_ atan atan_ atanh atanh_ "
        "bitwise_not bitwise_not_ ceil ceil_ conj conj_physical conj_physical_ cos cos_ cosh "
        "cosh_ deg2rad deg2rad_ exp exp2 exp2_ exp_ expm1 expm1_ fix fix_ floor floor_ frac frac_ "
        "frexp isfinite isinf isnan isneginf isposinf isreal log log10 log10_ log1p log1p_ log2 "
        "log2_ log_ logical_not logical_not_ logit logit_ nan_to_num nan_to_num_ neg neg_ "
        "negative negative_ positive rad2deg rad2deg_ reciprocal reciprocal_ resolve_conj "
        "resolve_neg round round_ rsqrt rsqrt_ sgn sgn_ sigmoid sigmoid_ sign sign_ signbit sin "
        "sin_ sinc sinc_ sinh sinh_ sqrt sqrt_ square square_ tan tan_ tanh tanh_ trunc trunc_"
    ),
    "ops.predicates": (
        "allclose equal is_conj is_inference is_neg is_nonzero is_same_size isclose"
    ),
    "ops.random_inplace": (
        "bernoulli_ cauchy_ exponential_ geometric_ log_normal_ normal_ random_ uniform_"
    ),
    "ops.random_operators": (
        "bernoulli multinomial"
    ),
    "ops.reduction": (
        "all any count_nonzero logsumexp mean nanmean nansum prod std sum var"
    ),
    "ops.scans": (
        "cummax cummin cumprod cumprod_ cumsum cumsum_ logcumsumexp"
    ),
    "ops.scatter": (
        "gather scatter scatter_ scatter_add scatter_add_ scatter_reduce scatter_reduce_ "
        "take_along_dim"
    ),
    "ops.selection": (
        "clamp clamp_ clamp_max clamp_max_ clamp_min clamp_min_ clip clip_ corrcoef cov diag "
        "diagflat diff renorm renorm_ trace tril tril_ triu triu_"
    ),
    "ops.shape": (
        "_unsafe_view adjoint broadcast_to expand expand_as flatten moveaxis movedim permute "
        "ravel repeat repeat_interleave reshape reshape_as squeeze squeeze_ swapaxes swapaxes_ "
        "swapdims swapdims_ t t_ tile transpose transpose_ unflatten unsqueeze unsqueeze_ view "
        "view_as"
    ),
    "ops.signal": (
        "istft stft"
    ),
    "ops.softmax": (
        "log_softmax softmax"
    ),
    "ops.sorting": (
        "argsort bincount histc histogram isin kthvalue msort nanquantile quantile sort topk "
        "unique unique_consecutive"
    ),
    "ops.special": (
        "digamma digamma_ erf erf_ erfc erfc_ erfinv erfinv_ i0 i0_ i1 igamma igamma_ igammac "
        "igammac_ lgamma lgamma_ mvlgamma mvlgamma_ polygamma polygamma_"
    ),
    "ops.strided": (
        "as_strided as_strided_ as_strided_scatter sum_to_size unfold"
    ),
    "ops.ternary": (
        "addcdiv addcdiv_ addcmul addcmul_ lerp lerp_"
    ),
}
PROPERTIES = {
    "ops.pointwise": (
        "imag real"
    ),
    "ops.shape": (
        "H T mH mT"
    ),
}
