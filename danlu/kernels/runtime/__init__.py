"""Running generated code: compiling and loading it, the cache on disk, threads, calls, memory."""
