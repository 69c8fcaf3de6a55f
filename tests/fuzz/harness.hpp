// harness.hpp: what every fuzzer here is made of. A fuzzer defines the functions of this header;
// libFuzzer (libfuzzer.cpp) or a plain loop over random bytes (driver.cpp) calls them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace fuzz {

using Bytes = std::vector<std::uint8_t>;

/// "file", "words" or "command": the name of the corpus, too.
extern const char* const subject;

/// Once, before the first input.
void set_up();
/// True when the input got past the checks at the gate, so that there was something to break.
bool run(const std::uint8_t* bytes, std::size_t size);
/// Scripts to begin with, made by the harness.
std::vector<Bytes> seeds();

/// The inputs of a file of corpus/: hexadecimal, one a line. <subject>.txt has those that once
/// broke something, <subject>-seeds.txt a few that reach far.
std::vector<Bytes> kept_inputs(const std::string& file);
/// All of them, and the seeds.
std::vector<Bytes> corpus();

/// Where defects are told, whatever becomes of standard error.
extern int reports;

/// set_up(), behind a contract handler that takes every broken contract for a defect.
void begin();

/// Of the compiler's counters of edges, where it has put any in: how many there are, and how many
/// have ever been passed by the end of a run.
struct Edges {
    std::uint64_t taken = 0;
    std::uint64_t all = 0;
};
Edges count_edges();

/// Counts, runs, and tells at the end of the process how many inputs there were; ends it with
/// status 1 where none got past the checks.
void run_counted(const std::uint8_t* bytes, std::size_t size);

}  // namespace fuzz
