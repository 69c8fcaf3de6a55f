// arena_file.cpp: names, and every check that a file is an arena.
#include "arena_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <lagoon/error.hpp>

#include "members.hpp"
#include "pool_body.hpp"

namespace lagoon::inline v1::detail {

namespace {

[[noreturn]] void fail(Errc code, const std::string& text, int error = 0) {
    throw Error{code, error != 0 ? text + ": " + os::error_text(error) : text, error};
}

std::uint64_t mix(std::uint64_t hash, const void* data, std::size_t bytes) noexcept {
    const auto* at = static_cast<const unsigned char*>(data);
    for (std::size_t i = 0; i < bytes; ++i) hash = (hash ^ at[i]) * 0x100000001b3;
    return hash;
}

bool within(std::uint64_t offset, std::uint64_t bytes, std::uint64_t total) noexcept {
    return offset <= total && bytes <= total - offset;
}

/// Every number of the header that something is computed from.
const char* header_flaw(const ArenaHeader& h, std::uint64_t file_bytes) noexcept {
    if (h.header_bytes != page_bytes) return "the header's size";
    if (h.arena_bytes != file_bytes) return "the size (the file was truncated or extended)";
    if (h.max_members == 0 || h.max_members > h.max_lanes || h.max_lanes > lane_limit) {
        return "the number of lanes";
    }
    // One part behind the other: what is written into one must not be another's numbers.
    if (h.members_offset % cache_line_bytes != 0 || h.members_offset < page_bytes ||
        !within(h.members_offset, std::uint64_t{h.max_members} * sizeof(MemberEntry), file_bytes)) {
        return "the member entries";
    }
    if (h.lanes_offset % cache_line_bytes != 0 ||
        h.lanes_offset < h.members_offset + h.max_members * sizeof(MemberEntry) ||
        !within(h.lanes_offset, std::uint64_t{h.max_lanes - h.max_members} * sizeof(LaneEntry),
                file_bytes)) {
        return "the lane entries";
    }
    if (h.directory_offset % 8 != 0 ||
        h.directory_offset < h.lanes_offset + (h.max_lanes - h.max_members) * sizeof(LaneEntry) ||
        h.directory_count > file_bytes / sizeof(DirectoryEntry) ||
        !within(h.directory_offset, h.directory_count * sizeof(DirectoryEntry), file_bytes)) {
        return "the directory";
    }
    if (h.root_offset % cache_line_bytes != 0 ||
        h.root_offset < h.directory_offset + h.directory_count * sizeof(DirectoryEntry) ||
        !within(h.root_offset, h.root_bytes, file_bytes)) {
        return "the struct's place";
    }
    if (h.storage_offset % cache_line_bytes != 0 || h.storage_offset > file_bytes ||
        h.storage_offset < h.root_offset + h.root_bytes) {
        return "the storage's place";
    }
    if (h.name.back() != '\0') return "the name";
    return nullptr;
}

/// Can an element be at this place of the file? Elements of which alignment, the program says.
bool is_aligned(std::uint64_t offset, const DirectoryEntry& e) noexcept {
    return std::has_single_bit(e.element_align) && e.element_align <= page_bytes &&
           offset % e.element_align == 0;
}

/// Ranges of a file, by their first bytes and sizes. Sorts them.
using Ranges = std::vector<std::pair<std::uint64_t, std::uint64_t>>;
bool overlap(Ranges& ranges) {
    std::sort(ranges.begin(), ranges.end());
    for (std::size_t i = 1; i < ranges.size(); ++i) {
        if (ranges[i - 1].first + ranges[i - 1].second > ranges[i].first) return true;
    }
    return false;
}

/// A line for each lane, from this place on.
std::pair<std::uint64_t, std::uint64_t> lines_at(const ArenaHeader& h, std::uint64_t at) {
    return {at - at % cache_line_bytes, std::uint64_t{h.max_lanes} * cache_line_bytes};
}
/// Those of a pool's lanes.
void add_lines(Ranges& ranges, const ArenaHeader& h, const DirectoryEntry& e,
               const std::byte* base) {
    const std::uint64_t object = h.root_offset + e.object_offset;
    PoolObject pool;
    std::memcpy(&pool, base + object, sizeof pool);
    for (const Storage& lines : {pool.claims, pool.queue}) {
        if (lines.extent == 0) continue;
        ranges.push_back(lines_at(h, object + static_cast<std::uint64_t>(lines.from_object)));
    }
}

/// Where an entry that has storage says it is, and where its object looks for it.
const char* entry_flaw(const ArenaHeader& h, const DirectoryEntry& e, const std::byte* base) {
    if (e.name.back() != '\0' || e.element_type.back() != '\0') return "a text without end";
    if (!within(e.object_offset, e.object_bytes, h.root_bytes) ||
        e.object_offset % cache_line_bytes != 0 || e.object_bytes < sizeof(Storage)) {
        return "its place in the struct";
    }
    const auto kind = static_cast<Kind>(e.kind);
    const bool stored = kind == Kind::array || kind == Kind::sharded_counter || kind == Kind::pool;
    if (!stored && e.storage_bytes == 0 && e.storage_offset == 0) return nullptr;
    if (kind == Kind::pool) {
        if (const char* flaw = pool_flaw(h, e, base)) return flaw;
    }
    if (kind == Kind::array && e.storage_bytes == 0) {
        Storage nothing;
        std::memcpy(&nothing, base + h.root_offset + e.object_offset, sizeof nothing);
        return e.extent == 0 && nothing.extent == 0 ? nullptr : "its extent";
    }
    if (e.storage_offset < h.storage_offset || e.storage_offset % 8 != 0 ||
        !is_aligned(e.storage_offset, e) ||
        !within(e.storage_offset, e.storage_bytes, h.arena_bytes)) {
        return "its storage";
    }
    Storage storage;
    const std::uint64_t object = h.root_offset + e.object_offset;
    std::memcpy(&storage, base + object, sizeof storage);
    if (storage.from_object != static_cast<std::int64_t>(e.storage_offset - object) ||
        storage.extent != e.extent) {
        return "the object's own idea of its storage";
    }
    if (kind == Kind::sharded_counter &&
        (e.extent != h.max_lanes || e.storage_bytes < (e.extent - 1) * cache_line_bytes + 8)) {
        return "its stripes";
    }
    if (kind == Kind::array &&
        (e.element_bytes == 0 || e.extent > e.storage_bytes / e.element_bytes)) {
        return "its extent";
    }
    return nullptr;
}

void require_sound(const ArenaHeader& h, const std::byte* base, const std::string& what) {
    const auto* directory = reinterpret_cast<const DirectoryEntry*>(base + h.directory_offset);
    if (h.checksum != checksum_of(h, directory)) {
        fail(Errc::corrupt, what +
                                ": the checksum of header and directory is wrong; bytes of the "
                                "file were changed. Remove it: lagoon rm " +
                                std::string{h.name.data()});
    }
    Ranges objects;
    Ranges storage;
    Ranges stripes;
    for (std::uint32_t i = 0; i < h.directory_count; ++i) {
        const DirectoryEntry& e = directory[i];
        if (const char* flaw = entry_flaw(h, e, base)) {
            fail(Errc::corrupt,
                 what + ": member " + std::to_string(i) + ": " + flaw + " cannot be");
        }
        const auto kind = static_cast<Kind>(e.kind);
        objects.emplace_back(e.object_offset, e.object_bytes);
        if (kind == Kind::pool) add_lines(storage, h, e, base);
        // Which it may share with other counters.
        if (kind == Kind::sharded_counter) stripes.push_back(lines_at(h, e.storage_offset));
        if (e.storage_bytes > 0 && kind != Kind::sharded_counter) {
            storage.emplace_back(e.storage_offset, e.storage_bytes);
        }
    }
    if (overlap(objects)) fail(Errc::corrupt, what + ": two members lie in one place");
    // Stripes lie in blocks that counters share, so a block is one range.
    std::sort(stripes.begin(), stripes.end());
    stripes.erase(std::unique(stripes.begin(), stripes.end()), stripes.end());
    storage.insert(storage.end(), stripes.begin(), stripes.end());
    if (overlap(storage)) fail(Errc::corrupt, what + ": the storage of two members overlaps");
}

}  // namespace

void require_arena_name(std::string_view name) {
    const bool allowed = std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '.' || c == '_' || c == '-';
    });
    if (name.empty() || name.size() >= arena_name_limit || !allowed) {
        fail(Errc::bad_name, "arena name '" + std::string{name} + "' must have 1 to " +
                                 std::to_string(arena_name_limit - 1) +
                                 " of the characters A-Za-z0-9._- and no others");
    }
}

std::string arena_directory(const std::string& option) {
    const char* set = std::getenv("LAGOON_DIR");
    const std::string given = !option.empty()                  ? option
                              : set != nullptr && *set != '\0' ? set
                                                               : "/dev/shm";
    if (given.front() == '/') return given;
    // This process or its workers may stand elsewhere later on.
    std::error_code error;
    const auto here = std::filesystem::current_path(error);
    if (error) {
        fail(Errc::system, "the directory " + given + " is relative to one that is gone",
             error.value());
    }
    return (here / given).string();
}

std::string arena_path(const std::string& directory, std::string_view name) {
    return directory + "/" + std::string{arena_prefix} + std::string{name};
}

os::Fd open_arena_file(const std::string& path, bool writable, const std::string& what) {
    const int flags = (writable ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
    os::Fd fd{::open(path.c_str(), flags)};
    if (!fd) {
        const int error = errno;
        if (error == ENOENT) return fd;
        if (error == EACCES || error == EPERM || error == EROFS) {
            fail(Errc::not_permitted,
                 what + ": the file " + path + " may not be opened by user " +
                     std::to_string(::geteuid()) +
                     "; its creator sets the permission bits with ArenaOptions::mode",
                 error);
        }
        if (error == ELOOP) {
            fail(Errc::not_an_arena, what + ": " + path + " is a symbolic link; remove it");
        }
        if (error == EISDIR || error == ENXIO) {
            fail(Errc::not_an_arena, what + ": " + path + " is no regular file", error);
        }
        fail(Errc::system, what + ": cannot open " + path, error);
    }
    struct stat found {};
    if (::fstat(fd.get(), &found) != 0 || !S_ISREG(found.st_mode)) {
        fail(Errc::not_an_arena, what + ": " + path + " is no regular file");
    }
    return fd;
}

void require_owner(int fd, std::int64_t owner, const std::string& what) {
    struct stat found {};
    if (::fstat(fd, &found) != 0) fail(Errc::system, what + ": fstat", errno);
    if (found.st_uid != ::geteuid() && found.st_uid != 0 &&
        static_cast<std::int64_t>(found.st_uid) != owner) {
        fail(Errc::not_permitted, what + ": its file belongs to user " +
                                      std::to_string(found.st_uid) + " and we are user " +
                                      std::to_string(::geteuid()) +
                                      "; to trust that user, name it in the options' `owner`");
    }
}

MappedFile map_arena_file(int fd, bool writable, const std::string& what) {
    struct stat found {};
    if (::fstat(fd, &found) != 0) fail(Errc::system, what + ": fstat", errno);
    const auto bytes = static_cast<std::uint64_t>(found.st_size);
    ArenaHeader header;
    static_assert(std::is_trivially_destructible_v<ArenaHeader>);
    if (bytes < page_bytes || ::pread(fd, static_cast<void*>(&header), sizeof header, 0) !=
                                  static_cast<ssize_t>(sizeof header)) {
        fail(Errc::corrupt, what + ": the file has " + std::to_string(bytes) +
                                " bytes, less than any arena; it is not an arena or was truncated");
    }
    if (header.magic != arena_magic) {
        fail(Errc::not_an_arena, what + ": the file does not begin as an arena does");
    }
    if (header.byte_order != byte_order_mark) {
        fail(Errc::version_mismatch, what + ": made on a machine of another byte order");
    }
    if (header.version != format_version) {
        fail(Errc::version_mismatch,
             what + ": the file has format " + std::to_string(header.version) +
                 " and this library reads format " + std::to_string(format_version) +
                 "; use one version of lagoon in all programs, or remove the arena");
    }
    if (const char* flaw = header_flaw(header, bytes)) {
        fail(Errc::corrupt, what + ": " + flaw + " cannot be; remove the file");
    }
    void* at =
        ::mmap(nullptr, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) {
        fail(Errc::system, what + ": cannot map " + std::to_string(bytes) + " bytes", errno);
    }
    try {
        // From the copy that was checked: the file may change under us.
        require_sound(header, static_cast<std::byte*>(at), what);
    } catch (...) {
        ::munmap(at, bytes);
        throw;
    }
    return {static_cast<std::byte*>(at), bytes};
}

std::uint64_t checksum_of(const ArenaHeader& header, const DirectoryEntry* directory) noexcept {
    const std::uint64_t seed = 0xcbf29ce484222325;
    const std::uint64_t sum = mix(seed, &header, offsetof(ArenaHeader, checksum));
    return mix(sum, directory, header.directory_count * sizeof(DirectoryEntry));
}

std::array<std::uint64_t, 2> boot_id() noexcept {
    std::array<std::uint64_t, 2> id{};
    try {
        const std::string text = os::read_file("/proc/sys/kernel/random/boot_id");
        id = {mix(1, text.data(), text.size()), mix(2, text.data(), text.size())};
        if (text.empty()) id = {};
    } catch (...) {
        id = {};
    }
    return id;
}

Life life_of(int fd, const ArenaHeader& header, const MemberEntry* members, std::uint32_t except) {
    Life life = Life::nobody;
    for (std::uint32_t i = 0; i < header.max_members; ++i) {
        if (i == except) continue;
        switch (member_life(fd, members[i], i)) {
            case MemberLife::alive: return Life::living;
            case MemberLife::unclear: life = Life::unclear; break;
            default: break;
        }
    }
    return life;
}

bool remove_name(const std::string& path, int fd, bool whoever_is_there, const std::string& what,
                 std::uint32_t except) {
    const Gate gate{fd, os::LockKind::exclusive, what};
    return remove_name_gated(path, fd, whoever_is_there, what, except);
}

bool remove_name_gated(const std::string& path, int fd, bool whoever_is_there,
                       const std::string& what, std::uint32_t except) {
    if (os::file_at(path) != os::file_of(fd)) return false;
    if (!whoever_is_there) {
        const MappedFile file = map_arena_file(fd, false, what);
        const auto& header = *reinterpret_cast<const ArenaHeader*>(file.base);
        const auto* members = reinterpret_cast<MemberEntry*>(file.base + header.members_offset);
        const bool in_use =
            !is_shut_down(header) && ((header.flags & flag_scoped) == 0 ||
                                      life_of(fd, header, members, except) != Life::nobody);
        ::munmap(file.base, file.bytes);
        if (in_use) return false;
    }
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
        fail(Errc::not_permitted, what + ": cannot remove " + path, errno);
    }
    return true;
}

bool remove_if_stale(const std::string& path, std::int64_t owner, const std::string& what) {
    const os::Fd fd = open_arena_file(path, true, what);
    if (!fd) return false;
    require_owner(fd.get(), owner, what);
    return remove_name(path, fd.get(), false, what);
}

}  // namespace lagoon::inline v1::detail
