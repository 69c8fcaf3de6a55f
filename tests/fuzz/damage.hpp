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
    void write_file(Input& input);
    /// The file that was written last has been opened, so its parts must lie one beside the other
    /// within it; aborts where they do not.
    void require_disjoint() const;
    /// A file of that name, whatever the last input made of it, goes.
    void remove_file() const;

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    /// How many parts an edit can be told to hit.
    [[nodiscard]] std::size_t parts() const noexcept { return parts_.size(); }
    [[nodiscard]] std::size_t live() const noexcept { return live_.size(); }
    [[nodiscard]] std::size_t fields() const noexcept { return fields_.size(); }

    static constexpr std::size_t most_edits = 12;

private:
    struct Part {
        std::uint64_t offset;
        std::uint64_t bytes;
    };
    /// A number of the header, of the directory or of an object that says where something is or
    /// how much of it there is.
    struct Field {
        std::uint64_t offset;
        std::uint32_t bytes;  // 1, 4 or 8
    };
    void collect_fields();
    void collect_live();
    [[nodiscard]] std::uint64_t read_field(const std::string& bytes, const Field& field) const;
    void edit(Input& input, std::string& bytes) const;
    /// A known number becomes one that matters: another number of the file, or one beside it.
    void edit_field(Input& input, std::string& bytes) const;
    /// A member's number of elements, wherever it is written: no two of them disagree.
    void edit_extent(Input& input, std::string& bytes) const;

    /// A number that changes while an arena lives, or the first byte of a value: of a text that
    /// is its length.
    void edit_live(Input& input, std::string& bytes) const;

    std::string name_;
    std::string path_;
    std::string sound_;
    std::string written_;
    std::vector<Part> parts_;
    std::vector<Field> fields_;
    std::vector<Field> live_;
};

/// One script per part: a word of it, first as it is in the file, then through the checksum.
std::vector<Bytes> damage_seeds(const Damage& damage);

}  // namespace fuzz
