// libfuzzer.cpp: the harness under libFuzzer, which mutates by what new code an input reaches.
//
// It begins with the corpus: written into a directory of its own beside the arenas, unless the
// command line names directories or files.
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "harness.hpp"

namespace {

/// Where they are, or nothing.
std::string write_corpus() {
    const char* arenas = std::getenv("LAGOON_DIR");
    if (arenas == nullptr) return {};
    const std::string directory = std::string{arenas} + "/corpus." + fuzz::subject;
    ::mkdir(directory.c_str(), 0700);
    std::size_t number = 0;
    for (const auto& input : fuzz::corpus()) {
        std::ofstream file{directory + "/" + std::to_string(number++), std::ios::binary};
        file.write(reinterpret_cast<const char*>(input.data()),
                   static_cast<std::streamsize>(input.size()));
    }
    return directory;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* count, char*** words) {
    fuzz::begin();
    bool named = false;
    for (int i = 1; i < *count; ++i) named = named || (*words)[i][0] != '-';
    static std::string directory = named ? std::string{} : write_corpus();
    if (directory.empty()) return 0;
    static std::vector<char*> all{*words, *words + *count};
    all.push_back(directory.data());
    all.push_back(nullptr);
    *words = all.data();
    ++*count;
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    fuzz::run_counted(bytes, size);
    return 0;
}

/// Besides libFuzzer's own mutations: now and then one of the corpus takes the input's place, so
/// that those that took no edge of their own are tried on, too.
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* bytes, std::size_t size, std::size_t room);
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* bytes, std::size_t size,
                                               std::size_t room, unsigned int seed) {
    static const auto all = fuzz::corpus();
    if (seed % 16 == 0 && !all.empty()) {
        const auto& chosen = all[seed / 16 % all.size()];
        size = chosen.size() < room ? chosen.size() : room;
        for (std::size_t i = 0; i < size; ++i) bytes[i] = chosen[i];
    }
    return LLVMFuzzerMutate(bytes, size, room);
}
