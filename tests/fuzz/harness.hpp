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
/// Scripts to begin with.
std::vector<Bytes> seeds();

/// The inputs of corpus/<subject>.txt that once broke something: hexadecimal, one a line.
std::vector<Bytes> regressions();

/// Where defects are told, whatever becomes of standard error.
extern int reports;

/// set_up(), behind a contract handler that takes every broken contract for a defect.
void begin();

/// Counts, runs, and tells at the end of the process how many inputs there were; ends it with
/// status 1 where none got past the checks.
void run_counted(const std::uint8_t* bytes, std::size_t size);

}  // namespace fuzz
