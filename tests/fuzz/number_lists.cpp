// Whatever bytes the reader of nested lists is given, it stays in them, and what it says it has read is a whole array.
// `make fuzz-lists` runs this under libFuzzer, which looks for bytes that take new ways through the code.

#include "../../model_server/runtime/_number_lists.cpp"

#include <cstdlib>

namespace {

template <typename Number>
void read_exactly(const char* bytes, std::size_t size) {
    const Text text{bytes, bytes + size};
    const Py_ssize_t count = count_numbers(text);
    Number* const numbers = static_cast<Number*>(std::malloc(static_cast<std::size_t>(count) * sizeof(Number)));
    Shape shape;
    if (read_list(text, numbers, count, shape)) {
        Py_ssize_t product = 1;
        for (int i = 0; i < shape.levels; ++i) product *= shape.sizes[i];
        if (product != count) std::abort();
    }
    std::free(numbers);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    // A copy of its own, so that the address sanitizer sees a byte too many.
    char* const bytes = static_cast<char*>(std::malloc(size == 0 ? 1 : size));
    std::memcpy(bytes, data, size);
    read_exactly<float>(bytes, size);
    read_exactly<double>(bytes, size);
    read_exactly<std::int64_t>(bytes, size);
    read_exactly<std::uint64_t>(bytes, size);
    std::free(bytes);
    return 0;
}
