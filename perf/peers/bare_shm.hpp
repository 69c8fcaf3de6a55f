// bare_shm.hpp: a named piece of shared memory as the system calls give it.
//
//   Errors     std::system_error
//   Death      a process killed between creating and filling leaves a name that means nothing yet;
//              nobody notices. This is what it costs to promise nothing
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <string>
#include <system_error>

namespace lagoon_perf {

class BareShm {
public:
    /// Makes the name, or opens it when `size_bytes` is 0. `reserved`: the pages are allocated now.
    BareShm(const std::string& name, std::size_t size_bytes, bool reserved) {
        const int flags = size_bytes > 0 ? O_RDWR | O_CREAT | O_EXCL : O_RDWR;
        file_ = shm_open(name.c_str(), flags | O_CLOEXEC, 0600);
        if (file_ < 0) fail("shm_open");
        if (size_bytes > 0) {
            const auto size = static_cast<off_t>(size_bytes);
            if (ftruncate(file_, size) != 0) fail("ftruncate");
            if (reserved && posix_fallocate(file_, 0, size) != 0) fail("posix_fallocate");
        } else {
            struct stat status {};
            if (fstat(file_, &status) != 0) fail("fstat");
            size_bytes = static_cast<std::size_t>(status.st_size);
        }
        size_bytes_ = size_bytes;
        base_ = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
        if (base_ == MAP_FAILED) fail("mmap");
    }
    ~BareShm() { close(); }
    BareShm(const BareShm&) = delete;
    BareShm& operator=(const BareShm&) = delete;

    [[nodiscard]] void* base() const { return base_; }

    void close() {
        if (base_ == nullptr) return;
        munmap(base_, size_bytes_);
        ::close(file_);
        base_ = nullptr;
    }

private:
    [[noreturn]] static void fail(const char* what) {
        throw std::system_error(errno, std::generic_category(), what);
    }

    int file_ = -1;
    void* base_ = nullptr;
    std::size_t size_bytes_ = 0;
};

}  // namespace lagoon_perf
