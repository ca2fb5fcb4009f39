"""Writing LLVM IR: types and functions, the machine they are written for, vector mathematics."""
