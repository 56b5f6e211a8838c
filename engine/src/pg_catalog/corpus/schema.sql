create table patients (patient_id bigint, age int, sex text, weight double precision, admitted date, seen timestamp, paid numeric(10,2), active boolean, tags text[]);
create table visits (visit_id bigint, patient_id bigint, "Visit Note" text, at timestamptz);
create schema federation;
create table federation.heart_disease (site text, age int, chest_pain text);
comment on table patients is 'people in care';
comment on column patients.age is 'years';
comment on table federation.heart_disease is 'four hospitals';
create role alice login; create role bob login; create role analyst; 
