// Tensors of numbers straight from the text of nested JSON lists, in one pass and without an object for each number.
//
// Only what is well formed is read: strict JSON, lists of one size a level, every number within its type. For all else
// `read` returns None, and Python code, which may be slow, finds the mistake and names it.

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

namespace {

constexpr int kMostLevels = 32;  // MAX_LEVELS of json_mistakes.py
// Switching threads takes longer than reading a shorter text.
constexpr Py_ssize_t kShortBytes = 64 * 1024;

struct Text {
    const char* at;
    const char* end;

    bool begins_with(char c) const { return at != end && *at == c; }
    bool has_digit() const { return at != end && *at >= '0' && *at <= '9'; }
    void skip_space() {
        while (at != end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')) ++at;
    }
};

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
// Eight digits at once: pairs of neighbours are added in three steps, in 16, 32 and 64 bits.
inline bool take_eight(Text& text, std::uint64_t& value) {
    if (text.end - text.at < 8) return false;
    std::uint64_t bytes;
    std::memcpy(&bytes, text.at, 8);
    const bool digits = ((bytes & 0xF0F0F0F0F0F0F0F0) == 0x3030303030303030) &&
                        (((bytes + 0x0606060606060606) & 0xF0F0F0F0F0F0F0F0) == 0x3030303030303030);
    if (!digits) return false;
    bytes -= 0x3030303030303030;
    bytes = bytes * 10 + (bytes >> 8);
    bytes = ((bytes & 0x000000FF000000FF) * (100 + (std::uint64_t{1000000} << 32)) +
             ((bytes >> 16) & 0x000000FF000000FF) * (1 + (std::uint64_t{10000} << 32))) >> 32;
    value = value * 100000000 + bytes;
    text.at += 8;
    return true;
}
#else
inline bool take_eight(Text&, std::uint64_t&) { return false; }
#endif

// Digits, appended to `value`; returns how many. Past 19 `value` means nothing.
inline std::ptrdiff_t take_digits(Text& text, std::uint64_t& value) {
    const char* const start = text.at;
    while (take_eight(text, value)) {
    }
    for (; text.has_digit(); ++text.at) value = value * 10 + static_cast<std::uint64_t>(*text.at - '0');
    return text.at - start;
}

// A number's parts, in JSON's grammar: sign, whole part without leading zeros, fraction, exponent.
struct Decimal {
    const char* start;
    std::uint64_t digits = 0;
    std::ptrdiff_t count = 0;
    std::ptrdiff_t exponent = 0;
    bool negative = false;
    bool whole = true;
};

inline bool take_decimal(Text& text, Decimal& decimal) {
    decimal.start = text.at;
    if (text.begins_with('-')) {
        decimal.negative = true;
        ++text.at;
    }
    if (!text.has_digit()) return false;
    if (*text.at == '0') {
        ++text.at;
        if (text.has_digit()) return false;
    } else {
        decimal.count = take_digits(text, decimal.digits);
    }
    if (text.begins_with('.')) {
        decimal.whole = false;
        ++text.at;
        const std::ptrdiff_t places = take_digits(text, decimal.digits);
        if (places == 0) return false;
        decimal.count += places;
        decimal.exponent = -places;
    }
    if (text.at != text.end && (*text.at | 0x20) == 'e') {
        decimal.whole = false;
        ++text.at;
        const bool down = text.begins_with('-');
        if (down || text.begins_with('+')) ++text.at;
        std::uint64_t size = 0;
        const std::ptrdiff_t places = take_digits(text, size);
        if (places == 0) return false;
        // So many digits never take the short way, where alone the exponent is looked at.
        if (places > 9) decimal.count = std::numeric_limits<std::ptrdiff_t>::max();
        else decimal.exponent += down ? -static_cast<std::ptrdiff_t>(size) : static_cast<std::ptrdiff_t>(size);
    }
    return true;
}

constexpr double kTens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                            1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
constexpr std::ptrdiff_t kMostTens = 22;
constexpr std::ptrdiff_t kMostDigits = 19;
constexpr std::uint64_t kExact = std::uint64_t{1} << 53;

inline bool convert_slowly(const Text& text, const Decimal& decimal, double& value) {
    const auto [end, error] = std::from_chars(decimal.start, text.at, value);
    return error == std::errc() && end == text.at;
}

// The double nearest to the number. Where digits and power of ten are both exact, one operation rounds correctly:
// W. D. Clinger, "How to read floating point numbers accurately", PLDI 1990.
inline bool convert(const Text& text, const Decimal& decimal, double& value) {
    const bool short_way = decimal.count <= kMostDigits && decimal.digits <= kExact && decimal.exponent <= kMostTens &&
                           decimal.exponent >= -kMostTens;
    if (!short_way) return convert_slowly(text, decimal, value);
    const double digits = static_cast<double>(decimal.digits);
    value = decimal.exponent < 0 ? digits / kTens[-decimal.exponent] : digits * kTens[decimal.exponent];
    if (decimal.negative) value = -value;
    return true;
}

// The float nearest to the double nearest to the number, which is what a client's own conversion gives. With more than
// 53 bits of digits the double here is off by less than two units in its last place, which matters only beside the
// middle between two floats: bit 28 of its 52 and nothing below.
inline bool convert(const Text& text, const Decimal& decimal, float& value) {
    double wide;
    const bool short_way = decimal.count <= kMostDigits && decimal.exponent <= 0 && decimal.exponent >= -kMostTens;
    if (short_way) {
        wide = static_cast<double>(decimal.digits) / kTens[-decimal.exponent];
        std::uint64_t bits;
        std::memcpy(&bits, &wide, sizeof bits);
        const std::uint64_t below = bits & 0x1FFFFFFF;
        const bool near_middle = below >= 0x10000000 - 4 && below <= 0x10000000 + 4;
        if (decimal.digits > kExact && near_middle) {
            if (!convert_slowly(text, decimal, wide)) return false;
        } else if (decimal.negative) {
            wide = -wide;
        }
    } else if (!convert(text, decimal, wide)) {
        return false;
    }
    value = static_cast<float>(wide);
    return std::isfinite(value);
}

template <typename Integer>
inline std::enable_if_t<std::is_integral_v<Integer>, bool> convert(const Text& text, const Decimal& decimal,
                                                                   Integer& value) {
    if (!decimal.whole) return false;
    if (decimal.count < kMostDigits) {  // below 10^18, which both types hold
        if (std::is_unsigned_v<Integer> && decimal.negative && decimal.digits != 0) return false;
        value = static_cast<Integer>(decimal.digits);
        if (decimal.negative) value = static_cast<Integer>(-value);
        return true;
    }
    const auto [end, error] = std::from_chars(decimal.start, text.at, value);
    return error == std::errc() && end == text.at;
}

struct Shape {
    Py_ssize_t sizes[kMostLevels];
    int levels = 0;
};

// Reads one list with all that is in it; `numbers` holds `most`. False for what is not to be read here.
template <typename Number>
bool read_list(Text text, Number* numbers, Py_ssize_t most, Shape& shape) {
    Py_ssize_t counts[kMostLevels];
    Number* const last = numbers + most;
    int level = 0;
    text.skip_space();
    if (!text.begins_with('[')) return false;
    for (;;) {
        for (; text.begins_with('['); text.skip_space()) {
            if (level == kMostLevels || (shape.levels != 0 && level == shape.levels)) return false;
            counts[level++] = 0;
            ++text.at;
        }
        if (shape.levels == 0) {
            shape.levels = level;
            for (int i = 0; i < level; ++i) shape.sizes[i] = -1;
        } else if (level != shape.levels) {
            return false;
        }
        Decimal decimal;
        if (numbers == last || !take_decimal(text, decimal) || !convert(text, decimal, *numbers)) return false;
        ++numbers;
        ++counts[level - 1];
        text.skip_space();
        while (text.begins_with(']')) {
            ++text.at;
            --level;
            if (shape.sizes[level] == -1) shape.sizes[level] = counts[level];
            else if (shape.sizes[level] != counts[level]) return false;
            text.skip_space();
            if (level == 0) return text.at == text.end && numbers == last;
            ++counts[level - 1];
        }
        if (!text.begins_with(',')) return false;
        ++text.at;
        text.skip_space();
    }
}

// Of nested lists without an empty one, however deep, there is one number more than there are commas.
Py_ssize_t count_numbers(const Text& text) {
    Py_ssize_t commas = 0;
    for (const char* at = text.at; at != text.end;) {
        const char* const until = text.end - at > 255 ? at + 255 : text.end;
        std::uint8_t some = 0;  // as wide as a character, so that the loop is one of vectors
        for (; at != until; ++at) some = static_cast<std::uint8_t>(some + (*at == ','));
        commas += some;
    }
    return commas + 1;
}

template <typename Number>
PyObject* read_as(const Text& text) {
    const Py_ssize_t count = count_numbers(text);
    PyObject* const flat = PyByteArray_FromStringAndSize(nullptr, count * static_cast<Py_ssize_t>(sizeof(Number)));
    if (flat == nullptr) return nullptr;
    Number* const numbers = reinterpret_cast<Number*>(PyByteArray_AsString(flat));
    Shape shape;
    bool read = false;
    if (text.end - text.at > kShortBytes) {
        Py_BEGIN_ALLOW_THREADS
        read = read_list(text, numbers, count, shape);
        Py_END_ALLOW_THREADS
    } else {
        read = read_list(text, numbers, count, shape);
    }
    if (!read) {
        Py_DECREF(flat);
        Py_RETURN_NONE;
    }
    PyObject* const sizes = PyTuple_New(shape.levels);
    for (int i = 0; sizes != nullptr && i < shape.levels; ++i) {
        PyObject* const size = PyLong_FromSsize_t(shape.sizes[i]);
        if (size == nullptr || PyTuple_SetItem(sizes, i, size) != 0) {
            Py_DECREF(sizes);
            Py_DECREF(flat);
            return nullptr;
        }
    }
    PyObject* const found = sizes == nullptr ? nullptr : PyTuple_Pack(2, flat, sizes);
    Py_XDECREF(sizes);
    Py_DECREF(flat);
    return found;
}

PyObject* read(PyObject*, PyObject* arguments) {
    PyObject* body;
    Py_ssize_t start;
    Py_ssize_t end;
    const char* kind;
    if (!PyArg_ParseTuple(arguments, "Snns:read", &body, &start, &end, &kind)) return nullptr;
    const char* const characters = PyBytes_AsString(body);
    if (start < 0 || end < start || end > PyBytes_Size(body)) {
        PyErr_SetString(PyExc_ValueError, "start and end must lie in the body, in this order");
        return nullptr;
    }
    // The caller's reference keeps the body while other threads run.
    const Text text{characters + start, characters + end};
    switch (std::strlen(kind) == 1 ? *kind : '\0') {
        case 'f': return read_as<float>(text);
        case 'd': return read_as<double>(text);
        case 'q': return read_as<std::int64_t>(text);
        case 'Q': return read_as<std::uint64_t>(text);
        default: PyErr_Format(PyExc_ValueError, "kind must be f, d, q or Q, not %s", kind); return nullptr;
    }
}

PyMethodDef kFunctions[] = {
    {"read", read, METH_VARARGS,
     "read(body, start, end, kind)\n--\n\n"
     "The numbers of the nested lists body[start:end] and the size of each level, the outermost first.\n\n"
     "`kind` is what they are read as: f and d for floats of 4 and 8 bytes, q and Q for integers of 8 with a sign and\n"
     "without. None for whatever is not strict JSON, not lists of one size a level, at most 32 deep, or past its type.\n"},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef kModule = {PyModuleDef_HEAD_INIT, "_number_lists", nullptr, 0, kFunctions, nullptr, nullptr, nullptr,
                       nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__number_lists() { return PyModuleDef_Init(&kModule); }
