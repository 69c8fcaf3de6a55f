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
Edges edges;

/// No contract is broken by a harness, so damage has made one look broken.
void fail(const char* message) noexcept {
    ::dprintf(reports, "fuzz: broken contract: %s\n", message);
    std::abort();
}

void tell() {
    std::string line = std::string{"fuzz "} + subject + ": " + std::to_string(inputs) +
                       " inputs, " + std::to_string(deep) + " of them past the checks at the gate";
    if (edges.all != 0) {
        line += "; " + std::to_string(edges.taken) + " of " + std::to_string(edges.all) +
                " edges taken";
    }
    ::dprintf(reports, "%s\n", line.c_str());
    if (deep == 0) ::_exit(1);
}

}  // namespace

std::vector<Bytes> kept_inputs(const std::string& file) {
    const std::string path = std::string{LAGOON_FUZZ_CORPUS} + "/" + file;
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

std::vector<Bytes> corpus() {
    std::vector<Bytes> all = kept_inputs(std::string{subject} + ".txt");
    for (auto& input : kept_inputs(std::string{subject} + "-seeds.txt")) {
        all.push_back(std::move(input));
    }
    for (auto& input : seeds()) all.push_back(std::move(input));
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
    edges = count_edges();
}

}  // namespace fuzz
