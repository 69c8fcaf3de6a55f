// libfuzzer.cpp: the harness under libFuzzer, which mutates by what new code an input reaches.
//
// It begins with the corpus: written into a directory of its own beside the arenas, unless the
// command line names directories or files. An input that breaks something is left beside them, too,
// as crash-*, timeout-* or oom-*.
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "harness.hpp"

namespace {

/// Where they are.
std::string write_corpus(const std::string& arenas) {
    const std::string directory = arenas + "/corpus." + fuzz::subject;
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
    const char* arenas = std::getenv("LAGOON_DIR");
    if (arenas == nullptr) return 0;
    static std::string artifacts = std::string{"-artifact_prefix="} + arenas + "/";
    static std::string directory = named ? std::string{} : write_corpus(arenas);
    // Behind the program's name, so that the command line's own has the last word.
    static std::vector<char*> all{*words, *words + *count};
    all.insert(all.begin() + 1, artifacts.data());
    if (!named) all.push_back(directory.data());
    *count = static_cast<int>(all.size());
    all.push_back(nullptr);
    *words = all.data();
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
