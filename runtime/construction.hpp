// construction.hpp: the directory of a struct while its constructors run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <lagoon/detail/attachment.hpp>
#include <lagoon/detail/member_of_arena.hpp>

namespace lagoon::inline v1::detail {

struct MappingFree {
    std::uint64_t bytes = 0;
    void operator()(std::byte* memory) const noexcept;
};

/// One run of a root struct's constructors. In scratch memory it gives every object storage of
/// its own; in the arena it hands out the file's bytes from `storage_offset` on.
class Construction {
public:
    /// Scratch: `lanes` is how many stripes a sharded counter gets.
    Construction(const RootType& type, std::uint32_t lanes);
    /// In the arena whose file begins at `base`.
    Construction(const RootType& type, std::uint32_t lanes, std::byte* base,
                 std::uint64_t root_offset, std::uint64_t storage_offset, std::uint64_t limit);
    ~Construction();
    Construction(const Construction&) = delete;
    Construction& operator=(const Construction&) = delete;

    /// Runs the constructors. Throws what they throw, and bad_layout for bytes that belong to no
    /// member.
    void run(const std::string& what);

    [[nodiscard]] const std::vector<DirectoryEntry>& directory() const noexcept {
        return directory_;
    }
    /// Storage used so far, counted from `storage_offset` (0 in scratch).
    [[nodiscard]] std::uint64_t storage_bytes() const noexcept { return cursor_; }

    enum class Stripes { none, shared, whole };
    Storage add(void* object, const ObjectDescription& description, Stripes stripes);
    void push(const void* object, const char* name);
    void pop() noexcept;

    /// The innermost one under way in this thread, or null.
    static Construction* current() noexcept;

private:
    std::byte* reserve(std::uint64_t bytes, std::uint64_t align, std::uint64_t* offset);
    std::string full_name(const char* name) const;

    const RootType& type_;
    std::uint32_t lanes_;
    std::byte* root_ = nullptr;
    std::byte* base_ = nullptr;  // null in scratch
    std::uint64_t storage_offset_ = 0;
    std::uint64_t limit_ = 0;
    std::uint64_t cursor_ = 0;
    std::vector<DirectoryEntry> directory_;
    std::vector<std::string> groups_;
    std::vector<std::unique_ptr<std::byte, MappingFree>> scratch_;
    std::byte* stripe_block_ = nullptr;
    std::uint64_t stripe_offset_ = 0;
    std::uint32_t stripes_used_ = 0;
    Construction* outer_ = nullptr;
};

/// Throws layout_mismatch or bad_layout naming the first difference of the two directories;
/// extents and storage are not compared.
void require_same_directory(const std::string& arena, const DirectoryEntry* ours,
                            std::size_t our_count, const DirectoryEntry* theirs,
                            std::size_t their_count, const char* us, const char* them);
/// "Array<int>", "Counter" and so on.
std::string type_text(const DirectoryEntry& entry);
/// Copies a text into a fixed field, cut to fit, zero-filled.
void copy_text(char* into, std::size_t room, std::string_view text) noexcept;

}  // namespace lagoon::inline v1::detail
