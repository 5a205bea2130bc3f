// Tensors in TensorFlow's memory as Python objects, and the run of a graph: what each request needs of TensorFlow's C
// API, without a Python call for each of its functions.
//
// The functions are those of tensorflow/c/c_api.h and tf_tensor.h, found in the library that `tensorflow_c.py` has
// loaded: this module is linked with nothing, and is compiled without TensorFlow.

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace {

// Switching threads takes longer than copying less.
constexpr Py_ssize_t kShortBytes = 64 * 1024;

// Opaque types of the C API, and `TF_Output`, of which arrays come from Python as they are.
struct TF_Tensor;
struct TF_Session;
struct TF_Buffer;
struct TF_Operation;
struct TF_Status;
struct TF_Output {
    TF_Operation* operation;
    int index;
};

struct Library {
    TF_Tensor* (*allocate)(int, const std::int64_t*, int, std::size_t);
    void (*free)(TF_Tensor*);
    int (*type)(const TF_Tensor*);
    int (*dims)(const TF_Tensor*);
    std::int64_t (*dim)(const TF_Tensor*, int);
    std::size_t (*bytes)(const TF_Tensor*);
    void* (*data)(const TF_Tensor*);
    void (*run)(TF_Session*, const TF_Buffer*, const TF_Output*, TF_Tensor* const*, int, const TF_Output*, TF_Tensor**,
                int, const TF_Operation* const*, int, TF_Buffer*, TF_Status*);
    int (*code)(const TF_Status*);
};
Library library;

template <typename Function>
bool find(void* handle, const char* name, Function*& function) {
    function = reinterpret_cast<Function*>(dlsym(handle, name));
    if (function == nullptr) PyErr_Format(PyExc_OSError, "TensorFlow's library has no %s", name);
    return function != nullptr;
}

// Owns what it points to.
struct Tensor {
    PyObject_HEAD
    TF_Tensor* tensor;
};
PyTypeObject* tensor_type;

TF_Tensor* of(PyObject* self) { return reinterpret_cast<Tensor*>(self)->tensor; }

// The object for a tensor, which it owns from here on; where there is no memory for it, the tensor is freed.
PyObject* owned(TF_Tensor* tensor) {
    Tensor* const self = PyObject_New(Tensor, tensor_type);
    if (self == nullptr) {
        library.free(tensor);
        return nullptr;
    }
    self->tensor = tensor;
    return reinterpret_cast<PyObject*>(self);
}

void tensor_dealloc(PyObject* self) {
    library.free(of(self));
    PyObject_Free(self);
    Py_DECREF(tensor_type);  // of a type like this one, each object holds a reference
}

PyObject* tensor_pointer(PyObject* self, void*) { return PyLong_FromVoidPtr(of(self)); }

PyObject* tensor_dtype(PyObject* self, void*) { return PyLong_FromLong(library.type(of(self))); }

PyObject* tensor_shape(PyObject* self, void*) {
    const int dims = library.dims(of(self));
    PyObject* const shape = PyTuple_New(dims);
    for (int i = 0; shape != nullptr && i < dims; ++i) {
        PyObject* const size = PyLong_FromLongLong(library.dim(of(self), i));
        if (size == nullptr || PyTuple_SetItem(shape, i, size) != 0) {
            Py_DECREF(shape);
            return nullptr;
        }
    }
    return shape;
}

// Plain bytes, only to be read: a variable of the model may share them.
int tensor_buffer(PyObject* self, Py_buffer* view, int flags) {
    const Py_ssize_t size = static_cast<Py_ssize_t>(library.bytes(of(self)));
    return PyBuffer_FillInfo(view, self, library.data(of(self)), size, 1, flags);
}

PyGetSetDef kTensorAttributes[] = {
    {"pointer", tensor_pointer, nullptr, "The address of the `TF_Tensor`.", nullptr},
    {"dtype", tensor_dtype, nullptr, "The number of its elements' type.", nullptr},
    {"shape", tensor_shape, nullptr, "The size of each dimension; () for a scalar.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyType_Slot kTensorSlots[] = {
    {Py_tp_doc, const_cast<char*>("Owns one `TF_Tensor`; its elements are there as a buffer of bytes to be read.")},
    {Py_tp_dealloc, reinterpret_cast<void*>(tensor_dealloc)},
    {Py_tp_getset, kTensorAttributes},
    {Py_bf_getbuffer, reinterpret_cast<void*>(tensor_buffer)},
    {0, nullptr},
};

PyType_Spec kTensorSpec = {"model_server.runtime._tensors.Tensor", sizeof(Tensor), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
                           kTensorSlots};

bool is_bound() {
    if (library.run == nullptr) PyErr_SetString(PyExc_RuntimeError, "bind TensorFlow's library first");
    return library.run != nullptr;
}

PyObject* bind(PyObject*, PyObject* argument) {
    void* const handle = PyLong_AsVoidPtr(argument);
    if (handle == nullptr) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "no library");
        return nullptr;
    }
    // The run comes last: `is_bound` looks at that.
    const bool found = find(handle, "TF_AllocateTensor", library.allocate) &&
                       find(handle, "TF_DeleteTensor", library.free) && find(handle, "TF_TensorType", library.type) &&
                       find(handle, "TF_NumDims", library.dims) && find(handle, "TF_Dim", library.dim) &&
                       find(handle, "TF_TensorByteSize", library.bytes) &&
                       find(handle, "TF_TensorData", library.data) && find(handle, "TF_GetCode", library.code) &&
                       find(handle, "TF_SessionRun", library.run);
    if (!found) return nullptr;
    Py_RETURN_NONE;
}

void copy(void* to, const Py_buffer& from) {
    if (from.len > kShortBytes) {
        Py_BEGIN_ALLOW_THREADS
        std::memcpy(to, from.buf, static_cast<std::size_t>(from.len));
        Py_END_ALLOW_THREADS
    } else if (from.len != 0) {
        std::memcpy(to, from.buf, static_cast<std::size_t>(from.len));
    }
}

PyObject* tensor(PyObject*, PyObject* arguments) {
    int dtype;
    PyObject* values;
    if (!PyArg_ParseTuple(arguments, "iO:tensor", &dtype, &values) || !is_bound()) return nullptr;
    Py_buffer view;
    if (PyObject_GetBuffer(values, &view, PyBUF_C_CONTIGUOUS) != 0) return nullptr;
    std::int64_t sizes[PyBUF_MAX_NDIM];
    for (int i = 0; i < view.ndim; ++i) sizes[i] = view.shape[i];
    TF_Tensor* const made = library.allocate(dtype, sizes, view.ndim, static_cast<std::size_t>(view.len));
    if (made == nullptr) {
        PyBuffer_Release(&view);
        return PyErr_NoMemory();
    }
    copy(library.data(made), view);
    PyBuffer_Release(&view);
    return owned(made);
}

PyObject* adopt(PyObject*, PyObject* argument) {
    TF_Tensor* const pointer = static_cast<TF_Tensor*>(PyLong_AsVoidPtr(argument));
    if (pointer == nullptr) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "no tensor");
        return nullptr;
    }
    return is_bound() ? owned(pointer) : nullptr;
}

// A list of tensors that are no longer `found`'s; all are freed where there is no memory for it.
PyObject* list_of(TF_Tensor** found, Py_ssize_t count) {
    PyObject* list = PyList_New(count);
    for (Py_ssize_t i = 0; i < count; ++i) {
        if (list == nullptr) {
            library.free(found[i]);
            continue;
        }
        PyObject* const one = owned(found[i]);
        if (one == nullptr || PyList_SetItem(list, i, one) != 0) {
            Py_DECREF(list);
            list = nullptr;
        }
    }
    return list;
}

// `inputs` is a tuple: it keeps its tensors while other Python code runs.
PyObject* run_with(TF_Session* session, const TF_Buffer* options, const Py_buffer& feeds, PyObject* inputs,
                   const Py_buffer& fetches, TF_Status* status) {
    const Py_ssize_t in = PyTuple_Size(inputs);
    const Py_ssize_t out = fetches.len / static_cast<Py_ssize_t>(sizeof(TF_Output));
    if (feeds.len != in * static_cast<Py_ssize_t>(sizeof(TF_Output))) {
        PyErr_Format(PyExc_ValueError, "%zd inputs for feeds of %zd bytes", in, feeds.len);
        return nullptr;
    }
    const std::size_t tensors = static_cast<std::size_t>(in + out);
    TF_Tensor** const given = static_cast<TF_Tensor**>(PyMem_Calloc(tensors, sizeof(TF_Tensor*)));
    if (given == nullptr) return PyErr_NoMemory();
    TF_Tensor** const results = given + in;
    for (Py_ssize_t i = 0; i < in; ++i) {
        PyObject* const one = PyTuple_GetItem(inputs, i);
        if (Py_TYPE(one) != tensor_type) {
            PyErr_Format(PyExc_TypeError, "input %zd is not a Tensor", i);
            PyMem_Free(given);
            return nullptr;
        }
        given[i] = of(one);
    }
    Py_BEGIN_ALLOW_THREADS
    library.run(session, options, static_cast<const TF_Output*>(feeds.buf), given, static_cast<int>(in),
                static_cast<const TF_Output*>(fetches.buf), results, static_cast<int>(out), nullptr, 0, nullptr, status);
    Py_END_ALLOW_THREADS
    PyObject* found = nullptr;
    if (library.code(status) == 0) {
        found = list_of(results, out);
    } else {
        for (Py_ssize_t i = 0; i < out; ++i) {
            if (results[i] != nullptr) library.free(results[i]);
        }
        found = Py_NewRef(Py_None);
    }
    PyMem_Free(given);
    return found;
}

PyObject* run(PyObject*, PyObject* arguments) {
    unsigned long long session;
    unsigned long long options;
    unsigned long long status;
    Py_buffer feeds;
    Py_buffer fetches;
    PyObject* sequence;
    if (!PyArg_ParseTuple(arguments, "KKy*Oy*K:run", &session, &options, &feeds, &sequence, &fetches, &status)) {
        return nullptr;
    }
    PyObject* found = nullptr;
    PyObject* const inputs = PySequence_Tuple(sequence);
    if (inputs != nullptr && is_bound()) {
        if (session == 0 || status == 0) {
            PyErr_SetString(PyExc_ValueError, "no session, or no status");
        } else {
            found = run_with(reinterpret_cast<TF_Session*>(session), reinterpret_cast<const TF_Buffer*>(options), feeds,
                             inputs, fetches, reinterpret_cast<TF_Status*>(status));
        }
    }
    Py_XDECREF(inputs);
    PyBuffer_Release(&feeds);
    PyBuffer_Release(&fetches);
    return found;
}

PyMethodDef kFunctions[] = {
    {"bind", bind, METH_O, "bind(handle)\n--\n\nUse the library that has this handle of `dlopen`. Raises OSError."},
    {"tensor", tensor, METH_VARARGS,
     "tensor(dtype, values)\n--\n\n"
     "A tensor of that type's number with the shape and the values of an array in C order, whose elements must be of\n"
     "the type's size. Raises MemoryError."},
    {"adopt", adopt, METH_O, "adopt(pointer)\n--\n\nA tensor for the `TF_Tensor` of this address, which it will free."},
    {"run", run, METH_VARARGS,
     "run(session, options, feeds, inputs, fetches, status)\n--\n\n"
     "Run a graph: the tensors of `fetches`, in their order, or None with the error in `status`.\n\n"
     "`session`, `options` (0 for none) and `status` are addresses, `feeds` and `fetches` arrays of `TF_Output`, and\n"
     "there is one of `inputs` for each of `feeds`. Other threads go on meanwhile."},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef kModule = {PyModuleDef_HEAD_INIT, "_tensors", nullptr, -1, kFunctions, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__tensors() {
    PyObject* const module = PyModule_Create(&kModule);
    if (module == nullptr) return nullptr;
    if (tensor_type == nullptr) tensor_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&kTensorSpec));
    if (tensor_type == nullptr || PyModule_AddObjectRef(module, "Tensor", reinterpret_cast<PyObject*>(tensor_type)) != 0) {
        Py_DECREF(module);
        return nullptr;
    }
    return module;
}
