// SPDX-License-Identifier: GPL-2.0-or-later

//! Which volume of a storage domain a path is, told from the path alone.

use std::path::Path;

use super::uses::Roots;
use crate::props::is_uuid;

/// The id of the volume that `path` is, if it is one of a file domain, of Gluster mounted, or of a block
/// domain, reached through VDSM's repository: `REPOSITORY/mnt/MOUNT/DOMAIN/images/IMAGE/VOLUME` or
/// `REPOSITORY/POOL/DOMAIN/images/IMAGE/VOLUME`.
///
/// An image without a pool, which is the hosted engine's, has another path, and so have LUNs, copies on
/// the host, managed block storage and transient disks.
pub fn volume_id<'p>(path: &'p str, roots: &Roots) -> Option<&'p str> {
    let rest = Path::new(path).strip_prefix(&roots.repository).ok()?;
    let parts: Vec<&str> = rest.to_str()?.split('/').collect();
    let (left, volume) = match parts[..] {
        [ref left @ .., domain, "images", image, volume] => {
            let are_ids = [domain, image, volume].into_iter().all(is_uuid);
            (left, are_ids.then_some(volume)?)
        }
        _ => return None,
    };
    let is_known = match left {
        ["mnt", "glusterSD", mount] | ["mnt", mount] => !matches!(*mount, "" | "." | ".."),
        [pool] => is_uuid(pool),
        _ => false,
    };
    is_known.then_some(volume)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes() {
        let id =
            |digit: char| "dddddddd-dddd-dddd-dddd-dddddddddddd".replace('d', &digit.to_string());
        let (pool, domain, image, volume) = (id('a'), id('b'), id('c'), id('d'));
        let tail = format!("{domain}/images/{image}/{volume}");
        let root = "/rhev/data-center";
        for left in [
            "mnt/nas:_export_x",
            "mnt/glusterSD/g1:vol",
            "mnt/blockSD",
            &pool,
        ] {
            let path = format!("{root}/{left}/{tail}");
            assert_eq!(
                volume_id(&path, &Roots::default()),
                Some(&*volume),
                "{path}"
            );
        }
        for path in [
            format!("/run/vdsm/storage/{domain}/{image}/{volume}"),
            format!("{root}/mnt/../{tail}"),
            format!("{root}/mnt/a/b/{tail}"),
            format!("{root}/{tail}"),
            format!("{root}/mnt/nas/{domain}/images/{image}/debian.iso"),
            format!("{root}/mnt/nas/{domain}/images/{image}/{volume}/{volume}"),
            format!("{root}/mnt/nas/{domain}/other/{image}/{volume}"),
            format!("/home/x/{pool}/{tail}"),
            format!("/dev/{domain}/{volume}"),
            "/dev/mapper/360014051234567890abcdef".to_owned(),
            "/run/vdsm/managedvolumes/1".to_owned(),
            String::new(),
        ] {
            assert_eq!(volume_id(&path, &Roots::default()), None, "{path}");
        }
        let moved = Roots {
            repository: "/srv/vdsm".into(),
            ..Roots::default()
        };
        assert_eq!(
            volume_id(&format!("/srv/vdsm/mnt/a/{tail}"), &moved),
            Some(&*volume)
        );
        assert_eq!(volume_id(&format!("{root}/mnt/a/{tail}"), &moved), None);
    }
}
