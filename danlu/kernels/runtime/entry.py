"""The machine code through which Python calls kernels: a built-in function that reads addresses out
of its arguments and runs the task on the pool."""

from __future__ import annotations

import ctypes

import numpy as np

from danlu.kernels.runtime import machine

__all__ = ["MAX_ARGUMENTS", "TEXT", "WRONG", "provide_python"]

MAX_ARGUMENTS = 256

WRONG = f"a kernel takes a count and ndarrays, ints, floats and None, at most {MAX_ARGUMENTS}"

TEXT = f"""
declare i64 @PyLong_AsLongLong(ptr)
declare ptr @PyErr_Occurred()
declare void @PyErr_SetString(ptr, ptr)
declare void @Py_IncRef(ptr)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
@danlu_ndarray_type = external global i8
@danlu_int_type = external global i8
@danlu_float_type = external global i8
@danlu_none = external global i8
@danlu_type_error = external global i8
@wrong = private constant [{len(WRONG) + 1} x i8] c"{WRONG}\\00"

; kernel(count, argument, ...): a METH_FASTCALL function. `self` is the array [address of the task].
; Arrays become the address of their data, ints an i64, floats a double, None a null pointer.
; A single task keeps the interpreter's lock, which costs a third of a short call to release and get
; back; count -1 is a single task that does not.
define ptr @danlu_entry(ptr %self, ptr %given, i64 %number) #0 {{
entry:
  %slots = alloca i64, i64 {MAX_ARGUMENTS}, align 64
  %table_at = getelementptr i8, ptr %self, i64 16
  %table = load ptr, ptr %table_at
  %task = load ptr, ptr %table
  %few = icmp sge i64 %number, 1
  %fits = icmp sle i64 %number, {MAX_ARGUMENTS + 1}
  %sound = and i1 %few, %fits
  br i1 %sound, label %first, label %refuse
first:
  %count_object = load ptr, ptr %given
  %count = call i64 @PyLong_AsLongLong(ptr %count_object)
  %failed = icmp eq i64 %count, -1
  br i1 %failed, label %maybe, label %next
maybe:
  %raised = call ptr @PyErr_Occurred()
  %is_raised = icmp ne ptr %raised, null
  br i1 %is_raised, label %failure, label %next
next:
  %k = phi i64 [ 1, %first ], [ 1, %maybe ], [ %k1, %put ]
  %more = icmp slt i64 %k, %number
  br i1 %more, label %read, label %go
read:
  %object_at = getelementptr ptr, ptr %given, i64 %k
  %object = load ptr, ptr %object_at
  %type_at = getelementptr i8, ptr %object, i64 8
  %type = load ptr, ptr %type_at
  %is_array = icmp eq ptr %type, @danlu_ndarray_type
  br i1 %is_array, label %array, label %other
array:
  %data_at = getelementptr i8, ptr %object, i64 16
  %data = load i64, ptr %data_at
  br label %put
other:
  %is_int = icmp eq ptr %type, @danlu_int_type
  br i1 %is_int, label %integer, label %other2
integer:
  %whole = call i64 @PyLong_AsLongLong(ptr %object)
  %odd = icmp eq i64 %whole, -1
  br i1 %odd, label %overflow, label %put
overflow:
  %error = call ptr @PyErr_Occurred()
  %is_error = icmp ne ptr %error, null
  br i1 %is_error, label %failure, label %put
other2:
  %is_float = icmp eq ptr %type, @danlu_float_type
  br i1 %is_float, label %float, label %other3
float:
  %real_at = getelementptr i8, ptr %object, i64 16
  %real = load i64, ptr %real_at
  br label %put
other3:
  %is_none = icmp eq ptr %object, @danlu_none
  br i1 %is_none, label %put, label %refuse
put:
  %slot = phi i64 [ %data, %array ], [ %whole, %integer ], [ %whole, %overflow ], [ %real, %float ], [ 0, %other3 ]
  %k0 = sub i64 %k, 1
  %slot_at = getelementptr i64, ptr %slots, i64 %k0
  store i64 %slot, ptr %slot_at
  %k1 = add i64 %k, 1
  br label %next
go:
  %single = icmp eq i64 %count, 1
  br i1 %single, label %direct, label %shared
direct:
  call void %task(ptr %slots, i64 0, i64 0)
  br label %success
shared:
  %state = call ptr @PyEval_SaveThread()
  %long = icmp slt i64 %count, 0
  %tasks = select i1 %long, i64 1, i64 %count
  call void @danlu_parallel(ptr %task, ptr %slots, i64 %tasks)
  call void @PyEval_RestoreThread(ptr %state)
  br label %success
success:
  call void @Py_IncRef(ptr @danlu_none)
  ret ptr @danlu_none
refuse:
  %exception = load ptr, ptr @danlu_type_error
  call void @PyErr_SetString(ptr %exception, ptr @wrong)
  ret ptr null
failure:
  ret ptr null
}}
"""


def provide_python() -> None:
    """What the entry needs of CPython and NumPy, by name: no address is in the code itself."""
    for name in ("PyLong_AsLongLong", "PyErr_Occurred", "PyErr_SetString", "Py_IncRef",
                 "PyEval_SaveThread", "PyEval_RestoreThread"):  # fmt: skip
        function = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p)
        machine.provide(name, function.value or 0)
    machine.provide("danlu_ndarray_type", id(np.ndarray))
    machine.provide("danlu_int_type", id(int))
    machine.provide("danlu_float_type", id(float))
    machine.provide("danlu_none", id(None))
    error = ctypes.c_void_p.in_dll(ctypes.pythonapi, "PyExc_TypeError")
    machine.provide("danlu_type_error", ctypes.addressof(error))
