// Pictures of things to do, 20 by 20, drawn in the colour of the text around them. Decoration: names stand beside them.

import type { JSX } from "solid-js";

function Icon(props: { size?: number | undefined; children: JSX.Element }): JSX.Element {
  return (
    <svg
      width={props.size ?? 20}
      height={props.size ?? 20}
      viewBox="0 0 20 20"
      fill="none"
      stroke="currentColor"
      stroke-width="1.6"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      {props.children}
    </svg>
  );
}

type Props = { size?: number };

/** An icon of one path. */
const icon = (path: string) => (props: Props) => (
  <Icon size={props.size}>
    <path d={path} />
  </Icon>
);

export const AlertIcon = icon("M10 3 2.5 16.5h15zM10 8.5v3.2M10 14.2v.1");
export const BackIcon = icon("M12.5 4.5 7 10l5.5 5.5");
export const BellIcon = icon("M10 2.8a4.7 4.7 0 0 1 4.7 4.7c0 4 1.6 5.5 1.6 5.5H3.7s1.6-1.5 1.6-5.5A4.7 4.7 0 0 1 10 2.8zM8.3 16a1.8 1.8 0 0 0 3.4 0");
export const CheckIcon = icon("m4 10.5 4 4 8-9");
export const ClockIcon = icon("M10 17.5a7.5 7.5 0 1 0 0-15 7.5 7.5 0 0 0 0 15zM10 5.8V10l2.8 1.8");
export const CloseIcon = icon("m5 5 10 10M15 5 5 15");
export const CopyIcon = icon("M7.5 7.5h8v9h-8zM5 12.5H4.5v-9h8V5");
export const EyeIcon = icon("M2 10s3-5 8-5 8 5 8 5-3 5-8 5-8-5-8-5zM10 12a2 2 0 1 0 0-4 2 2 0 0 0 0 4z");
export const EyeOffIcon = icon("m3 3 14 14M8 5.3A7.6 7.6 0 0 1 10 5c5 0 8 5 8 5a14 14 0 0 1-2.3 2.7M5 6.6A14 14 0 0 0 2 10s3 5 8 5a7.4 7.4 0 0 0 3.3-.8");
export const DownloadIcon = icon("M10 3v9.5M6 9l4 4 4-4M3.5 12.5v4h13v-4");
export const FileIcon = icon("M5 2.5h6.5L15.5 6.5v11H5zM11.5 2.5v4h4");
export const InfoIcon = icon("M10 17.5a7.5 7.5 0 1 0 0-15 7.5 7.5 0 0 0 0 15zM10 9.5v4M10 6.6v.1");
export const GiftIcon = icon("M4.5 10v7h11v-7M3 6.5h14V10H3zM10 6.5V17M10 6.5S9 3 7 3a1.75 1.75 0 0 0 0 3.5zM10 6.5S11 3 13 3a1.75 1.75 0 0 1 0 3.5z");
export const LinkIcon = icon("M8.5 11.5a3 3 0 0 0 4.3 0l3-3a3 3 0 0 0-4.3-4.3l-1 1M11.5 8.5a3 3 0 0 0-4.3 0l-3 3a3 3 0 0 0 4.3 4.3l1-1");
export const ListIcon = icon("M4 5.5h12M4 10h12M4 14.5h8");
export const LockIcon = icon("M5 9h10v7.5H5zM7 9V6.5a3 3 0 0 1 6 0V9");
export const PencilIcon = icon("m4 16 .8-3.5L13 4.3l2.7 2.7-8.2 8.2zM11.5 5.8l2.7 2.7");
export const PeopleIcon = icon("M7.5 9.5a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM2 16.5c.5-2.8 2.7-4.5 5.5-4.5s5 1.7 5.5 4.5M13 3.9a3 3 0 0 1 0 5.2M15 12.5c1.7.6 2.7 2 3 4");
export const PhoneIcon = icon("M6 2.5h8v15H6zM9 14.8h2");
export const PlusIcon = icon("M10 4v12M4 10h12");
export const ReloadIcon = icon("M16 10a6 6 0 1 1-1.8-4.3L16 7.5M16 3.5v4h-4");
export const RestoreIcon = icon("M4 10a6 6 0 1 0 1.8-4.3L4 7.5M4 3.5v4h4M10 7v3.3l2.2 1.5");
export const SearchIcon = icon("M9 14.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11zM13 13l4 4");
export const SendIcon = icon("M17 3 9 11M17 3l-5 14-3-6-6-3z");
export const SettingsIcon = icon("M3 6h7M14 6h3M3 14h3M10 14h7M12 8a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM8 16a2 2 0 1 0 0-4 2 2 0 0 0 0 4z");
export const SignOutIcon = icon("M8 3.5H4v13h4M8.5 10H17M13.5 6.5 17 10l-3.5 3.5");
export const TrashIcon = icon("M3.5 5.5h13M8 5.5V3.5h4v2M5.5 5.5l.7 11h7.6l.7-11M8.5 9v4.5M11.5 9v4.5");
export const UploadIcon = icon("M10 13V3.5M6 7l4-4 4 4M3.5 12.5v4h13v-4");
export const UserIcon = icon("M10 10a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM3.5 17c.6-3 3.2-4.5 6.5-4.5s5.9 1.5 6.5 4.5");
export const MuteIcon = icon("m3 3 14 14M5.3 7.5c0 4-1.6 5.5-1.6 5.5H13M6.6 4.2a4.7 4.7 0 0 1 8.1 3.3c0 1.7.3 2.9.7 3.8M8.3 16a1.8 1.8 0 0 0 3.4 0");
export const OfflineIcon = icon("m3 3 14 14M6.3 8.2A4 4 0 0 0 6 16h8.5M8.5 5.3A5 5 0 0 1 14.9 9a3.5 3.5 0 0 1 2.3 5.8");

export function MoreIcon(props: Props): JSX.Element {
  return (
    <svg width={props.size ?? 20} height={props.size ?? 20} viewBox="0 0 20 20" fill="currentColor" aria-hidden="true">
      <path d="M10 6a1.6 1.6 0 1 0 0-3.2A1.6 1.6 0 0 0 10 6zm0 5.6a1.6 1.6 0 1 0 0-3.2 1.6 1.6 0 0 0 0 3.2zm0 5.6a1.6 1.6 0 1 0 0-3.2 1.6 1.6 0 0 0 0 3.2z" />
    </svg>
  );
}

/** The mark of Percloud itself. */
export function CloudMark(props: Props): JSX.Element {
  return (
    <svg class="k-mark" width={props.size ?? 28} height={props.size ?? 28} viewBox="0 0 32 32" aria-hidden="true">
      <path d="M9.6 24.5a6.3 6.3 0 0 1-.8-12.5 8.6 8.6 0 0 1 16.4 2.3 5.2 5.2 0 0 1-.8 10.2z" fill="currentColor" />
    </svg>
  );
}
