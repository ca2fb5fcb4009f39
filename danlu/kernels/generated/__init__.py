"""Writers of kernels: each gives the LLVM IR of one family."""
