// damage.hpp: a sound arena's bytes, changed as a script says.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "harness.hpp"
#include "input.hpp"

namespace fuzz {

class Damage {
public:
    /// Makes an arena, keeps its bytes and removes it.
    void set_up();

    /// Writes a damaged copy of the bytes under the arena's name. Half of the scripts make the
    /// checksum right again afterwards; without that hardly anything would get past it.
    void write_file(Input& input) const;
    /// A file of that name, whatever the last input made of it, goes.
    void remove_file() const;

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    /// How many parts an edit can be told to hit.
    [[nodiscard]] std::size_t parts() const noexcept { return parts_.size(); }

    static constexpr std::size_t most_edits = 12;

private:
    struct Part {
        std::uint64_t offset;
        std::uint64_t bytes;
    };
    void edit(Input& input, std::string& bytes) const;
    /// A member's number of elements, wherever it is written: no two of them disagree.
    void edit_extent(Input& input, std::string& bytes) const;

    std::string name_;
    std::string path_;
    std::string sound_;
    std::vector<Part> parts_;
};

/// One script per part: a word of it, first as it is in the file, then through the checksum.
std::vector<Bytes> damage_seeds(std::size_t parts);

}  // namespace fuzz
