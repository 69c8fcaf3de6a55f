// driver.cpp: the harness without libFuzzer, for compilers that have none: the kept inputs, then a
// fixed number of mutated seeds and random inputs. LAGOON_FUZZ_RUNS says how many, and
// LAGOON_FUZZ_SEED where the random numbers begin. With arguments: the inputs in those files.
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>

#include "harness.hpp"

namespace {

constexpr unsigned hang_seconds = 60;
constexpr std::size_t longest = 256;

fuzz::Bytes current;

/// What broke is printed so that it can be kept: corpus/<subject>.txt takes the line.
extern "C" void tell_input(int signal) {
    static constexpr char digits[] = "0123456789abcdef";
    (void)!::write(fuzz::reports, "fuzz: broken by input ", 22);
    for (const std::uint8_t byte : current) {
        const char pair[2] = {digits[byte >> 4], digits[byte & 15]};
        (void)!::write(fuzz::reports, pair, 2);
    }
    (void)!::write(fuzz::reports, "\n", 1);
    std::signal(signal, SIG_DFL);
    std::raise(signal);
}

void try_input(fuzz::Bytes input) {
    current = std::move(input);
    ::alarm(hang_seconds);
    fuzz::run_counted(current.data(), current.size());
    ::alarm(0);
}

/// What the harnessed code prints is of no interest.
void silence() {
    const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    ::dup2(nowhere, STDOUT_FILENO);
    ::dup2(nowhere, STDERR_FILENO);
    ::close(nowhere);
}

std::uint64_t number(const char* variable, std::uint64_t otherwise) {
    const char* text = std::getenv(variable);
    return text != nullptr && *text != '\0' ? std::strtoull(text, nullptr, 10) : otherwise;
}

}  // namespace

int main(int argc, char** argv) {
    for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM}) {
        std::signal(signal, &tell_input);
    }
    fuzz::begin();
    silence();
    if (argc > 1) {
        for (int i = 1; i < argc; ++i) {
            std::ifstream file{argv[i], std::ios::binary};
            try_input({std::istreambuf_iterator<char>{file}, {}});
        }
        return 0;
    }
    const auto seeds = fuzz::corpus();
    for (const auto& seed : seeds) try_input(seed);
    std::mt19937_64 random{number("LAGOON_FUZZ_SEED", 1)};
    const std::uint64_t runs = number("LAGOON_FUZZ_RUNS", 2000);
    for (std::uint64_t i = 0; i < runs; ++i) {
        fuzz::Bytes input;
        if (random() % 2 == 0) input = seeds[random() % seeds.size()];
        for (std::uint64_t changes = 1 + random() % 8; changes > 0 && !input.empty(); --changes) {
            input[random() % input.size()] = static_cast<std::uint8_t>(random());
        }
        const std::uint64_t more = random() % (input.empty() ? longest : 32);
        for (std::uint64_t n = 0; n < more; ++n) {
            input.push_back(static_cast<std::uint8_t>(random()));
        }
        try_input(std::move(input));
    }
    return 0;
}
