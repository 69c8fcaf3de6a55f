// libfuzzer.cpp: the harness under libFuzzer, which mutates by what new code an input reaches.
#include "harness.hpp"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    fuzz::begin();
    for (const auto& input : fuzz::regressions()) fuzz::run_counted(input.data(), input.size());
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    fuzz::run_counted(bytes, size);
    return 0;
}

/// Besides libFuzzer's own mutations: now and then a seed, or the beginning of one, takes the
/// input's place. So no corpus has to lie in files.
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* bytes, std::size_t size, std::size_t room);
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* bytes, std::size_t size,
                                               std::size_t room, unsigned int seed) {
    static const auto all = fuzz::seeds();
    if (seed % 64 == 0 && !all.empty()) {
        const auto& chosen = all[seed / 64 % all.size()];
        size = chosen.size() < room ? chosen.size() : room;
        for (std::size_t i = 0; i < size; ++i) bytes[i] = chosen[i];
    }
    return LLVMFuzzerMutate(bytes, size, room);
}
