// harness.cpp: the kept inputs, and the count that may not be zero.
#include "harness.hpp"

#include <unistd.h>

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include <lagoon/error.hpp>

namespace fuzz {

int reports = STDERR_FILENO;

namespace {

std::uint64_t inputs = 0;
std::uint64_t deep = 0;

/// No contract is broken by a harness, so damage has made one look broken.
void fail(const char* message) noexcept {
    ::dprintf(reports, "fuzz: broken contract: %s\n", message);
    std::abort();
}

void tell() {
    ::dprintf(reports, "fuzz %s: %llu inputs, %llu of them past the checks at the gate\n", subject,
              static_cast<unsigned long long>(inputs), static_cast<unsigned long long>(deep));
    if (deep == 0) ::_exit(1);
}

}  // namespace

std::vector<Bytes> regressions() {
    const std::string path = std::string{LAGOON_FUZZ_CORPUS} + "/" + subject + ".txt";
    std::ifstream lines{path};
    if (!lines) {
        std::perror(path.c_str());
        std::abort();
    }
    std::vector<Bytes> all;
    for (std::string line; std::getline(lines, line);) {
        line.resize(line.find('#') == std::string::npos ? line.size() : line.find('#'));
        Bytes bytes;
        for (std::size_t i = 0; i + 1 < line.size() && std::isxdigit(line[i]) != 0; i += 2) {
            bytes.push_back(static_cast<std::uint8_t>(std::stoul(line.substr(i, 2), nullptr, 16)));
        }
        if (!bytes.empty()) all.push_back(std::move(bytes));
    }
    return all;
}

void begin() {
    reports = ::dup(STDERR_FILENO);
    lagoon::set_contract_handler(&fail);
    set_up();
}

void run_counted(const std::uint8_t* bytes, std::size_t size) {
    if (inputs++ == 0) std::atexit(&tell);
    if (run(bytes, size)) ++deep;
}

}  // namespace fuzz
